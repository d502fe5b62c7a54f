"""The filesystem below a miner as a seam, and what a failing one is called. Blocking: callers are in threads.

:class:`Disk` is what the piece files need of a filesystem; :class:`SystemDisk` is this machine's, hippy.testing.disk
has one that loses power, fills up and rots when told, and hippy.testing.disk_contract is what both keep.

Nothing is durable by itself: bytes are after :meth:`NewFile.sync`, names (of new files, new directories, renamed and
removed ones) after :meth:`Disk.sync_directory`. A rename is atomic: after a crash the old name is there or the new.

Every method raises NoSpaceError for a full disk, TemporaryError for one that fails or is not mounted, and reading
raises IntegrityError for what the disk had and has not as it was.

Example::

    with SYSTEM_DISK.create(draft) as file:
        file.write(data)
        file.sync()
    SYSTEM_DISK.rename(draft, path)
    SYSTEM_DISK.sync_directory(path.parent)
    with SYSTEM_DISK.open(path, size=len(data)) as file:
        first = file.read_at(0, 4096)
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hippy.errors import IntegrityError, NoSpaceError, TemporaryError

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK_BYTES: Final = 512
"""What ``st_blocks`` counts in, whatever the filesystem's own blocks are (POSIX, sys/stat.h)."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_sync_data = os.fsync if sys.platform == "darwin" else os.fdatasync


class NewFile(Protocol):
    """A file being written, from its beginning on."""

    def write(self, data: Buffer) -> None:
        """Append all of ``data``. Raises NoSpaceError, TemporaryError."""

    def sync(self) -> None:
        """Make the bytes written so far durable; the name is the directory's to keep. Raises as :meth:`write`."""


class OpenFile(Protocol):
    """A file being read."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset`` on.

        Raises IntegrityError when they cannot be read or are fewer, TemporaryError.
        """


class Disk(Protocol):
    """A filesystem; see the module's docstring. Paths are absolute, or relative to one place all along."""

    def create(self, path: Path) -> AbstractContextManager[NewFile]:
        """Make a new file, which is gone again when the context ends with an error.

        Raises NoSpaceError, TemporaryError (also when there is such a name already).
        """

    def open(self, path: Path, *, size: int) -> AbstractContextManager[OpenFile]:
        """Open a file that has ``size`` bytes.

        Raises IntegrityError when it is gone, has another size or cannot be read, TemporaryError when this machine
        is short of something or the file's directory is not there.
        """

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, over what has it already, at once. Raises NoSpaceError, TemporaryError."""

    def remove(self, path: Path) -> None:
        """Remove a file if it is there. Raises TemporaryError."""

    def make_directory(self, path: Path) -> bool:
        """Make a directory in one that exists; returns whether it was missing. Raises NoSpaceError, TemporaryError."""

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable. Raises TemporaryError."""

    def is_directory(self, path: Path) -> bool:
        """Return whether there is a directory of that name. Raises TemporaryError."""

    def names(self, directory: Path) -> list[str]:
        """Return the names in a directory, in no order. Raises TemporaryError, also for a missing directory."""

    def sizes(self, directory: Path) -> dict[str, int]:
        """Return name → bytes taken on disk of the files in a directory. Raises as :meth:`names`."""

    def free_bytes(self, path: Path) -> int:
        """Return how many bytes the filesystem of ``path`` has free for us. Raises TemporaryError."""


def make_directories(disk: Disk, path: Path) -> None:
    """Make a directory and those above it, as far as they are missing, durably. Raises as Disk.make_directory."""
    if disk.is_directory(path):
        return
    if path.parent != path:
        make_directories(disk, path.parent)
    if disk.make_directory(path):
        disk.sync_directory(path.parent)


def read_exactly(disk: Disk, path: Path, offset: int, length: int, *, size: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on of a file that has ``size`` bytes. Raises as Disk.open."""
    with disk.open(path, size=size) as file:
        return file.read_at(offset, length)


def sync_directory(path: Path) -> None:
    """Make the names in a directory of this machine durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SystemDisk:
    """This machine's filesystems. Has no state: :data:`SYSTEM_DISK` serves everybody."""

    @contextmanager
    def create(self, path: Path) -> Iterator[NewFile]:
        """See Disk."""
        with writing():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield _NewFile(descriptor)
        except BaseException:
            with suppress(OSError):  # what failed first is what is told; a start empties where drafts are
                path.unlink()
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def open(self, path: Path, *, size: int) -> Iterator[OpenFile]:
        """See Disk."""
        with reading(self, path):
            descriptor = os.open(path, os.O_RDONLY)
        try:
            with reading(self, path):
                check_size(path, os.fstat(descriptor).st_size, size)
            yield _OpenFile(self, path, descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """See Disk."""
        with writing():
            old.replace(new)

    def remove(self, path: Path) -> None:
        """See Disk."""
        with writing():
            path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> bool:
        """See Disk. It is ours alone (mode 0700)."""
        with writing():
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                if not path.is_dir():
                    raise
                return False
        return True

    def sync_directory(self, path: Path) -> None:
        """See Disk."""
        with writing():
            sync_directory(path)

    def is_directory(self, path: Path) -> bool:
        """See Disk."""
        with writing():
            return path.is_dir()

    def names(self, directory: Path) -> list[str]:
        """See Disk."""
        with writing():
            return os.listdir(directory)

    def sizes(self, directory: Path) -> dict[str, int]:
        """See Disk. A file that is removed meanwhile counts or does not."""
        found = dict[str, int]()
        with writing(), os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        found[entry.name] = entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
        return found

    def free_bytes(self, path: Path) -> int:
        """See Disk."""
        with writing():
            status = os.statvfs(path)
        return status.f_bavail * status.f_frsize


SYSTEM_DISK: Final[Disk] = SystemDisk()
"""The disk of this machine, which is meant wherever nobody says another."""


class _NewFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Buffer) -> None:
        """See NewFile."""
        with writing():
            rest = memoryview(data).cast("B")
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """See NewFile."""
        with writing():
            _sync_data(self._descriptor)


class _OpenFile:
    def __init__(self, disk: Disk, path: Path, descriptor: int) -> None:
        self._disk = disk
        self._path = path
        self._descriptor = descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """See OpenFile. One read: a regular file gives all it has at once."""
        with reading(self._disk, self._path):
            data = os.pread(self._descriptor, length, offset)
        return check_length(self._path, data, offset, length)


def check_size(path: Path, found: int, size: int) -> None:
    """Raise IntegrityError when a file has not the size it was written with."""
    if found != size:
        raise IntegrityError(f"{path.name} has {found} bytes on this disk, not {size}")


def check_length(path: Path, data: bytes, offset: int, length: int) -> bytes:
    """Return ``data``. Raises IntegrityError when a read gave another number of bytes than ``length``."""
    if len(data) != length:
        raise IntegrityError(f"{path.name} gave {len(data)} bytes of {length} at {offset} on this disk")
    return data


@contextmanager
def reading(disk: Disk, path: Path) -> Iterator[None]:
    """Name the errors of reading: a lost or unreadable file is the disk's lie, the rest will pass.

    So will a file whose folder is gone too: folders are never removed, so the disk is not mounted.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and not disk.is_directory(path.parent):
            raise TemporaryError(f"the folder of {path.name} is not there now: is its disk mounted?") from None
        if error.errno in (errno.ENOENT, errno.EIO):
            raise IntegrityError(f"this disk lost {path.name}: {error.strerror}") from None
        raise TemporaryError(f"cannot read {path.name} now: {error.strerror}") from None


@contextmanager
def writing() -> Iterator[None]:
    """Name the errors of everything but reading.

    Raises NoSpaceError for a full disk, TemporaryError for a failing one.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError("this miner's disk is full", hint="ask another miner") from None
        raise TemporaryError(f"this miner's disk failed: {error.strerror}") from None
