"""Weight over time as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hippy.errors import ConfigError
from hippy.sim.plot import check_plotting, draw_weights

WEIGHTS = {"honest": [1.0, 1.0, 1.0], "drop-5%": [0.9, 0.2, 0.4], "flap": [1.0, 0.9, 0.8]}


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_weights(WEIGHTS, tmp_path / "weights.png", epochs_per_day=20)
    assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="matplotlib") as caught:
        check_plotting()
    assert caught.value.hint == "pip install 'hippy-net[sim]'"
