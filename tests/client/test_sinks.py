from __future__ import annotations

import io
import os
import stat
import threading
from pathlib import Path

import pytest

from hippy.client.manifest import inline_manifest
from hippy.client.sinks import FileSink, MemorySink, StreamSink
from hippy.errors import HippyError, NotFoundError, TemporaryError, UsageError

MANIFEST = inline_manifest(b"new", mode=0o4751, mtime_us=1_700_000_000_123_456)


def test_file_appears_whole_with_its_mode_and_time(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x")
    sink.write(b"ne")
    sink.write(b"w")
    assert not (tmp_path / "x").exists()
    sink.commit(MANIFEST)
    sink.abandon()
    found = (tmp_path / "x").stat()
    assert (tmp_path / "x").read_bytes() == b"new"
    assert found.st_mtime_ns == 1_700_000_000_123_456_000
    assert stat.S_IMODE(found.st_mode) == 0o751  # never setuid


def test_empty_file_appears_too(tmp_path: Path) -> None:
    FileSink(tmp_path / "x").commit(MANIFEST)
    assert (tmp_path / "x").read_bytes() == b""


def test_abandoned_file_leaves_the_old_one_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    sink = FileSink(tmp_path / "x")
    sink.write(b"new")
    sink.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_target_that_cannot_be_replaced_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    sink = FileSink(tmp_path / "x")
    sink.write(b"new")
    with pytest.raises(HippyError):
        sink.commit(MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with pytest.raises(HippyError):
        FileSink(tmp_path / "no" / "such").write(b"new")


def test_link_at_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"safe")
    (tmp_path / "x").symlink_to("elsewhere")
    sink = FileSink(tmp_path / "x")
    sink.write(b"new")
    sink.commit(MANIFEST)
    assert (tmp_path / "elsewhere").read_bytes() == b"safe"
    assert (tmp_path / "x").read_bytes() == b"new"


def test_memory_hands_out_nothing_before_it_is_committed() -> None:
    sink = MemorySink()
    sink.write(b"new")
    assert sink.data == b""
    sink.commit(MANIFEST)
    sink.abandon()
    assert sink.data == b"new"


def test_stream_gets_the_bytes_as_they_come() -> None:
    stream = io.BytesIO()
    sink = StreamSink(stream)
    sink.write(b"new")
    sink.commit(MANIFEST)
    assert stream.getvalue() == b"new"


def test_sink_that_was_given_up_takes_no_more(tmp_path: Path) -> None:
    sinks = [FileSink(tmp_path / "x") for _ in range(2)]
    sinks[0].write(b"ne")
    for sink in sinks:
        sink.abandon()
        with pytest.raises(TemporaryError, match="given up"):
            sink.write(b"w")
        with pytest.raises(TemporaryError, match="given up"):
            sink.commit(MANIFEST)
    assert list(tmp_path.iterdir()) == []


def test_sink_given_up_in_the_middle_of_a_write_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on, open_file = threading.Event(), threading.Event(), os.open

    def slow(*args: object) -> int:
        opening.set()
        go_on.wait(10)
        return open_file(*args)  # type: ignore[arg-type]

    sink = FileSink(tmp_path / "x")
    monkeypatch.setattr(os, "open", slow)
    writer, ender = threading.Thread(target=sink.write, args=(b"new",)), threading.Thread(target=sink.abandon)
    writer.start()
    opening.wait(10)
    ender.start()
    ender.join(0.02)  # it would be through by now if it did not wait for the writer
    go_on.set()
    writer.join()
    ender.join()
    assert list(tmp_path.iterdir()) == []


class Piecemeal(io.RawIOBase):
    """A file on a disk that takes three bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self.taken += bytes(data[:3])
        return len(data[:3])


def test_everything_is_written_to_a_disk_that_takes_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sink = Piecemeal(), FileSink(tmp_path / "x")
    monkeypatch.setattr(sink, "_file", file)
    sink.write(b"0123456789")
    assert file.taken == b"0123456789"


def test_broken_pipe_is_told_as_it_is_and_other_troubles_of_a_stream_as_ours() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream, pytest.raises(BrokenPipeError) as caught:
        StreamSink(stream).write(b"new")
    assert not isinstance(caught.value, HippyError)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(UsageError, match="No space left"):
        StreamSink(full).write(b"new")
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        StreamSink(closed).write(b"new")


def test_the_error_of_a_directory_that_is_not_there_names_it(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "no" / "file")
    with pytest.raises(NotFoundError, match=r"/no: No such file or directory$"):
        sink.write(b"x")
