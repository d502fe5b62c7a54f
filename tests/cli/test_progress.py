"""How far a command is, in lines and in JSON."""

from __future__ import annotations

import json

import pytest

from hippy.cli.progress import showing_progress


def test_lines_come_at_their_interval_and_say_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with showing_progress(as_json=False) as progress:
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
    with showing_progress(as_json=True) as progress:
        progress.note("a miner was replaced")
        now[0] += 2
        progress.advance(7)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        {"note": "a miner was replaced"},
        {"stage": "starting", "bytes": 7, "total": None, "seconds": 2.0},
    ]


def test_notes_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(as_json=False) as progress:
        progress.note("miner \x1b[31mred was replaced")
    assert capsys.readouterr().err == "miner \\x1b[31mred was replaced\n"
