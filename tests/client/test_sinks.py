from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from hippy.client.manifest import inline_manifest
from hippy.client.sinks import FileSink, MemorySink, StreamSink
from hippy.errors import HippyError

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
