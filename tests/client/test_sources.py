from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from hippy.client.packing import Chunk
from hippy.client.prepare import FileReading
from hippy.client.sources import BytesSource, FileSource, Reader, Source, spool
from hippy.client.walk import walk_directory
from hippy.errors import HippyError, TemporaryError, UsageError


def read(source: Source) -> bytes | HippyError:
    reading = FileReading("it", source)
    content = reading.read_whole()
    return reading.error or content


@pytest.mark.parametrize("change", ["grow", "shrink", "touch", "replace by a link", "remove"])
def test_file_that_changed_since_the_walk_fails(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 1))
    (found,) = walk_directory(tmp_path).files
    match change:
        case "grow":
            path.write_bytes(b"123456")
        case "shrink":
            path.write_bytes(b"1234")
        case "touch":
            os.utime(path, ns=(2, 2))
        case "replace by a link":
            path.rename(tmp_path / "other")
            path.symlink_to("other")
        case "remove":
            path.unlink()
    assert isinstance(read(found.source), HippyError)


def test_file_that_changes_while_it_is_read_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    reader = FileSource.of(path).open()
    reader.readinto(memoryview(bytearray(2)))
    reader.check_unchanged()
    path.write_bytes(b"123456")
    with pytest.raises(TemporaryError, match="changed"):
        reader.check_unchanged()
    reader.close()


def test_named_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read(FileSource.of(tmp_path / "link")) == b"data"


def test_named_directory_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        FileSource.of(tmp_path)
    assert "-r" in (caught.value.hint or "")


def test_stream_becomes_a_source_of_known_size() -> None:
    source = spool(io.BytesIO(b"x" * 3_000_000))
    assert source.size == 3_000_000
    assert read(source) == b"x" * 3_000_000
    source.file.close()


def test_time_before_1970_is_stored_as_1970() -> None:
    assert FileSource("x", 0, 0, -5_000_000).mtime_us == 0
    assert FileSource("x", 0, 0, 5_999).mtime_us == 5
    assert BytesSource(b"abc").size == 3


def test_time_after_2255_is_stored_as_the_last_there_is() -> None:
    assert FileSource("x", 0, 0, 10**10 * 10**9).mtime_us == 2**53 - 1
    assert FileSource("x", 0, 0, (2**53 - 1) * 1000).mtime_us == 2**53 - 1


class FailingSource(BytesSource):
    """Cannot be read, for a reason nobody thought of."""

    error: Exception

    def open(self) -> Reader:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), OSError(5, "Input/output error")])
def test_unexpected_trouble_with_a_file_is_its_own_failure(error: Exception) -> None:
    source = FailingSource(b"12345")
    object.__setattr__(source, "error", error)
    outcome = read(source)
    assert isinstance(outcome, UsageError)
    assert str(error.args[-1]) in outcome.message
    chunked = FileReading("it", source)
    assert chunked.read(Chunk(0, 0, 5), memoryview(bytearray(5))) is None
    assert isinstance(chunked.error, UsageError)
