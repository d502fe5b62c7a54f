"""Words and figures of the commands."""

from __future__ import annotations

import json

import pytest

from hippy.cli import output
from hippy.client.results import Failure
from hippy.errors import HippyError, NotFoundError, TemporaryError, UnreachableError


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (101_818_368, "97.1 MiB"), (5 * 1024**5, "5.0 PiB")],
)
def test_sizes_are_printed_for_people(count: int, text: str) -> None:
    assert output.human_bytes(count) == text


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([NotFoundError("gone")], 1),
        ([TemporaryError("too few miners")], 5),
        ([TemporaryError("too few miners"), UnreachableError("away")], 5),
        ([TemporaryError("too few miners"), NotFoundError("gone")], 1),
    ],
)
def test_failures_say_whether_trying_again_helps(errors: list[HippyError], code: int) -> None:
    assert output.failures_exit_code(tuple(Failure("path", error) for error in errors)) == code


def test_lines_come_at_their_interval_and_say_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with output.showing_progress(as_json=False) as progress:
        progress.stage("uploading")
        progress.total(100 * 10**6)
        for _ in range(3):
            now[0] += 5
            progress.advance(10 * 10**6)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["uploading: 19.1 MiB of 95.4 MiB, 2.0 MB/s, 40 s left"]


def test_json_progress_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with output.showing_progress(as_json=True) as progress:
        progress.note("a miner was replaced")
        now[0] += 2
        progress.advance(7)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        {"note": "a miner was replaced"},
        {"stage": "starting", "bytes": 7, "total": None, "seconds": 2.0},
    ]
