"""Durable files: written beside, synced, renamed into place; and what a failing disk is called. Blocking.

The order is the whole point: a name appears only after its bytes are on disk, and whoever calls
:func:`publish` may say so to others once it returned.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hippy.errors import IntegrityError, NoSpaceError, TemporaryError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_sync_data = os.fsync if sys.platform == "darwin" else os.fdatasync


def make_directory(path: Path) -> None:
    """Create ``path`` if it is missing, durably."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_draft(folder: Path, data: Buffer, *, durable: bool) -> Path:
    """Write ``data`` to a new file of its own in ``folder`` and return its path; a failure leaves no file.

    Raises OSError.
    """
    draft = folder / secrets.token_hex(16)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            _sync_data(descriptor)
    except BaseException:
        draft.unlink()
        raise
    finally:
        os.close(descriptor)
    return draft


def publish(draft: Path, target: Path) -> None:
    """Give a draft its name, over what has it already, durably.

    Raises OSError; the draft is then gone or in place.
    """
    try:
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def read_exactly(path: Path, offset: int, length: int, *, size: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on of a file that has ``size`` bytes.

    Raises IntegrityError when the file is gone, has another size or cannot be read, TemporaryError when this
    machine is short of something.
    """
    with opened(path, size=size) as descriptor:
        return read_at(descriptor, path, offset, length)


@contextmanager
def opened(path: Path, *, size: int) -> Iterator[int]:
    """Open a file that has ``size`` bytes, for :func:`read_at`; yields its descriptor.

    Raises what :func:`read_exactly` raises.
    """
    with reading(path):
        descriptor = os.open(path, os.O_RDONLY)
    try:
        with reading(path):
            found = os.fstat(descriptor).st_size
        if found != size:
            raise IntegrityError(f"{path.name} has {found} bytes on this disk, not {size}")
        yield descriptor
    finally:
        os.close(descriptor)


def read_at(descriptor: int, path: Path, offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on, in one read; ``path`` is for the error.

    Raises IntegrityError when they cannot be read or are fewer, TemporaryError.
    """
    with reading(path):
        data = os.pread(descriptor, length, offset)
    if len(data) != length:
        raise IntegrityError(f"{path.name} gave {len(data)} bytes of {length} at {offset} on this disk")
    return data


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the errors of reading: a lost or unreadable file is the disk's lie, the rest will pass.

    So will a file whose folder is gone too: folders are never removed, so the disk is not mounted.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and not path.parent.is_dir():
            raise TemporaryError(f"the folder of {path.name} is not there now: is its disk mounted?") from None
        if error.errno in (errno.ENOENT, errno.EIO):
            raise IntegrityError(f"this disk lost {path.name}: {error.strerror}") from None
        raise TemporaryError(f"cannot read {path.name} now: {error.strerror}") from None


@contextmanager
def writing() -> Iterator[None]:
    """Name the errors of writing.

    Raises NoSpaceError for a full disk, TemporaryError for a failing one.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError("this miner's disk is full", hint="ask another miner") from None
        raise TemporaryError(f"this miner's disk failed: {error.strerror}") from None
