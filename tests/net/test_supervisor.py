"""Looking at a network without touching it."""

from __future__ import annotations

from pathlib import Path

from hippy.net.supervisor import is_supervised


def test_looking_for_a_supervisor_leaves_no_trace(tmp_path: Path) -> None:
    assert not is_supervised(tmp_path)
    assert not is_supervised(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []
