"""The bench of refusals times requests that are refused, each for its own reason."""

from __future__ import annotations

import threading

import pytest

from hippy.bench import rejects
from hippy.bench.measure import Pace
from hippy.bench.rejects import PLAIN, measure_rejects
from hippy.errors import IntegrityError
from tests.bench.engines import ticking

PACE = Pace(rounds=1, seconds_max=None)
REASONS = ("unknown path", "unsigned", "oversized", "over budget", "bad signature")


def test_every_reason_is_timed_on_a_kept_and_on_a_new_connection() -> None:
    group = measure_rejects(PACE, timer=ticking())
    names = [f"{reason}, {connection}" for connection in ("kept", "new") for reason in (PLAIN, *REASONS)]
    assert [each.name for each in group.measurements] == names
    assert [(each.case, each.to, each.spread.median) for each in group.ratios] == [
        (name, PLAIN, 1.0) for name in names if not name.startswith(PLAIN)
    ]


def test_a_request_that_is_not_refused_as_it_should_be_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "BODY_BYTES_MAX", 100)
    with pytest.raises(IntegrityError, match=r"^oversized, kept: "):
        measure_rejects(PACE, timer=ticking())


def test_the_servers_end_with_the_bench() -> None:
    measure_rejects(PACE, timer=ticking())
    assert "bench-server" not in [thread.name for thread in threading.enumerate()]
