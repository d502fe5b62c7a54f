"""Loss, health and backlog as a picture."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hippy.erasure.geometry import LOCAL
from hippy.sim.durability.plot import draw
from hippy.sim.durability.settings import Settings, Vanish
from hippy.sim.durability.simulation import simulate

SETTINGS = Settings(profile=LOCAL, miners=60, segments=50, days=6, vanish=Vanish.GROUP)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_picture_has_one_panel_without_a_run_and_three_with_one(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(None, SETTINGS, {"local": LOCAL}, 24, tmp_path / "one.png")
    draw(simulate(SETTINGS), SETTINGS, {"local": LOCAL}, 24, tmp_path / "three.png")
    (width, height), (same_width, tall) = size(tmp_path / "one.png"), size(tmp_path / "three.png")
    assert width == same_width
    assert tall == pytest.approx(3 * height, abs=3)
