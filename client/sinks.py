"""Where the bytes of a get go: a file that appears whole or not at all, memory, an open stream.

Owns writing, and making a file durable before it is visible: a draft beside the target, fsync, rename. Whether the
bytes are the right ones is decided by hippy.client.get before it calls ``commit``; a stream has then had them already.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from hippy.client.file_errors import file_error
from hippy.client.manifest import Manifest
from hippy.client.sources import PERMISSION_BITS
from hippy.errors import TemporaryError, UsageError
from hippy.points import reached


class Sink(Protocol):
    """Takes the bytes of one file in order, then either of two ends. Calls come from worker threads."""

    def write(self, data: bytearray | bytes) -> None:
        """Take the next bytes."""

    def commit(self, manifest: Manifest) -> None:
        """The bytes are all there and are the right ones."""

    def abandon(self) -> None:
        """They are not; harmless after a commit."""


class FileSink:
    """A file beside its target until it is committed. Restores mode and time of change.

    Whoever gives up may do so while a thread is still writing; what that does afterwards is refused, so no draft stays.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._draft = target.with_name(f".hippy-{secrets.token_hex(8)}.part")
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._over = False

    def write(self, data: bytearray | bytes) -> None:
        """Append to the draft."""
        with self._lock:
            file, rest = self._open(), memoryview(data)
            try:
                while rest:  # a disk that is nearly full takes a part
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise file_error(str(self._draft), error) from None

    def commit(self, manifest: Manifest) -> None:
        """Make the draft durable and give it the target's name."""
        with self._lock:
            file = self._open()
            try:
                os.fchmod(file.fileno(), manifest.mode & PERMISSION_BITS)
                mtime_ns = manifest.mtime_us * 1000
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
                os.fsync(file.fileno())
                file.close()
                reached("client.file_written")
                self._draft.replace(self._target)
            except OSError as error:
                self._end()
                raise file_error(str(self._target), error) from None
            self._file = None
            reached("client.file_renamed")

    def abandon(self) -> None:
        """Remove the draft, once nobody is writing to it."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._over = True
        if self._file is not None:
            self._file.close()
            self._file = None
            self._draft.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        if self._over:
            raise TemporaryError(f"the file for {self._target.name} was given up")
        if self._file is None:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._file = os.fdopen(os.open(self._draft, flags, 0o600), "wb", buffering=0)
            except OSError as error:
                raise file_error(str(self._target.parent), error) from None
        return self._file


class MemorySink:
    """Bytes in memory: ``data``, once they are known to be the right ones."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.data = b""

    def write(self, data: bytearray | bytes) -> None:
        """Append."""
        self._data += data

    def commit(self, manifest: Manifest) -> None:
        """Hand the bytes out."""
        self.data = bytes(self._data)

    def abandon(self) -> None:
        """Forget the bytes."""
        self._data.clear()


class StreamSink:
    """An open stream, such as standard output; what was written cannot be taken back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytearray | bytes) -> None:
        """Pass on."""
        self._use(lambda: self._stream.write(data))

    def commit(self, manifest: Manifest) -> None:
        """Send on what the stream has buffered."""
        self._use(self._stream.flush)

    def abandon(self) -> None:
        """The reader will be told by the error."""

    def _use(self, work: Callable[[], object]) -> None:
        """Do something with the stream; that its reader has left is for the caller to know as what it is."""
        try:
            work()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise file_error("the output stream", error) from None
        except ValueError as error:
            raise UsageError(f"cannot use the output stream: {error}") from None


def file_at(path: Path, name: str) -> Path:
    """Return the file that ``path`` means: itself, what it links to, or ``name`` in it when it is a directory."""
    target = (path / name if path.is_dir() else path).resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no regular file", hint="write to standard output with - instead")
    return target


def file_below(root: Path, components: tuple[str, ...]) -> Callable[[], Sink]:
    """Return a function that opens a file below ``root``, making the directories on the way."""

    def make() -> Sink:
        target = root.joinpath(*components)
        make_directory(target.parent)
        return FileSink(target)

    return make


def make_directory(path: Path) -> None:
    """Make a directory and those above it; fine when it is there. Raises what file_error makes of the failure."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(str(path), error) from None
