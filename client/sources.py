"""Where the bytes of a put come from: a file, memory, a pipe.

A :class:`Source` knows its size beforehand and is opened when its turn comes; a file that is not then, or not in the
end, what it was is refused (:class:`FileReader`), while others go on. A pipe has no size and is spooled to a file
without a name first. Which files of a directory there are is hippy.client.walk's.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from hippy.client.file_errors import changed, file_error
from hippy.errors import HippyError, UsageError
from hippy.wire.fields import INTEGER_MAX

DEFAULT_MODE: Final = 0o644
PERMISSION_BITS: Final = 0o777
SPOOL_CHUNK_BYTES: Final = 1024 * 1024
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)


class Reader(Protocol):
    """An open source, read from start to end by one thread at a time."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer's start and return how many bytes that took; 0 only at the end."""

    def check_unchanged(self) -> None:
        """Raises TemporaryError when the source changed while it was read."""

    def close(self) -> None:
        """Give up what reading took."""


class Source(Protocol):
    """Something of a known size that can be read once."""

    @property
    def size(self) -> int:
        """Bytes it had when it was found."""

    @property
    def mode(self) -> int:
        """Permission bits."""

    @property
    def mtime_us(self) -> int:
        """Microseconds since 1970; 0 for nothing known."""

    def open(self) -> Reader:
        """Begin to read. Raises HippyError when that is impossible."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A regular file as it was when it was looked at."""

    path: str
    size: int
    mode: int
    mtime_ns: int
    follow: bool = False

    @classmethod
    def of(cls, path: Path) -> FileSource:
        """Return the source of a file somebody named, following a symlink.

        Raises NotFoundError, AuthError or UsageError for what is no readable file.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise file_error(str(path), error) from None
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise UsageError(f"{path} is {kind}", hint="a directory needs -r" if kind == "a directory" else None)
        return cls(str(path), found.st_size, found.st_mode & PERMISSION_BITS, found.st_mtime_ns, follow=True)

    @property
    def mtime_us(self) -> int:
        """Microseconds since 1970; times before that and after 2255 are stored as the nearest there is."""
        return min(max(0, self.mtime_ns // 1000), INTEGER_MAX)

    def open(self) -> Reader:
        """Open the file, provided it is still the one that was looked at."""
        flags = _OPEN_FLAGS if self.follow else _OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0)
        try:
            file = os.fdopen(os.open(self.path, flags), "rb", buffering=0)
        except OSError as error:
            raise file_error(self.path, error) from None
        reader = FileReader(file, self)
        try:
            reader.check_unchanged()
        except HippyError:
            reader.close()
            raise
        return reader


class FileReader:
    """An open file that is compared with its source before and after."""

    def __init__(self, file: io.FileIO, source: FileSource) -> None:
        self._file = file
        self._source = source

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer's start and return how many bytes that took."""
        try:
            return self._file.readinto(buffer) or 0
        except OSError as error:
            raise file_error(self._source.path, error) from None

    def check_unchanged(self) -> None:
        """Raises TemporaryError when size or time of change are not those of the source."""
        now = os.fstat(self._file.fileno())
        if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_mtime_ns) != (
            self._source.size,
            self._source.mtime_ns,
        ):
            raise changed(self._source.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class BytesSource:
    """Bytes in memory."""

    data: bytes = field(repr=False)
    mode: int = DEFAULT_MODE
    mtime_us: int = 0

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def open(self) -> Reader:
        """Read from the start."""
        return BytesReader(io.BytesIO(self.data))


@dataclass(frozen=True, slots=True)
class SpooledSource:
    """What came through a pipe, now in a file without a name; it lives until ``file`` is closed."""

    file: BinaryIO
    size: int
    mode: int = DEFAULT_MODE
    mtime_us: int = 0

    def open(self) -> Reader:
        """Read from the start."""
        self.file.seek(0)
        return BytesReader(self.file)


class BytesReader:
    """A stream that cannot change under us."""

    def __init__(self, stream: io.BytesIO | BinaryIO) -> None:
        self._stream = stream

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer's start and return how many bytes that took."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def check_unchanged(self) -> None:
        """Nobody else can write to it."""

    def close(self) -> None:
        """Leave the stream to whoever made it."""


def spool(stream: BinaryIO) -> SpooledSource:
    """Copy a pipe to a file without a name, so that its size is known and a segment can be read in one go."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the source owns it
    while chunk := stream.read(SPOOL_CHUNK_BYTES):
        file.write(chunk)
    return SpooledSource(file, file.tell())


def source_of(what: str | Path | bytes | BinaryIO, now_us: int) -> tuple[Source, str | None]:
    """Return a source and the name it brings, if any; what is no file was changed now, in Unix microseconds."""
    if isinstance(what, bytes):
        return BytesSource(what, mtime_us=now_us), None
    if isinstance(what, str | Path):
        source = FileSource.of(Path(what))
        return source, Path(what).name
    return replace(spool(what), mtime_us=now_us), None
