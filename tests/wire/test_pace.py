"""Waiting times are those of the protocol, and shrink only where epochs are a local network's."""

from __future__ import annotations

import pytest

from hippy.wire.pace import DAY, SHORT_EPOCH_SECONDS, USUAL_PACE, pace_of, scaled


@pytest.mark.parametrize("epoch_seconds", [SHORT_EPOCH_SECONDS, 4_320.0, 10**6])
def test_on_a_subnet_nothing_shrinks(epoch_seconds: float) -> None:
    assert pace_of(epoch_seconds) == USUAL_PACE
    assert (USUAL_PACE.drop_grace_seconds, USUAL_PACE.lease_seconds, USUAL_PACE.trash_seconds) == (
        DAY,
        7 * DAY,
        7 * DAY,
    )


def test_short_epochs_keep_their_share_of_a_usual_one() -> None:
    short = pace_of(20.0)
    assert (short.drop_grace_seconds, short.lease_seconds, short.trash_seconds) == (400, 2_800, 2_800)


def test_nothing_shrinks_below_a_second() -> None:
    assert scaled(5.0, 0.01) == 1.0
    assert pace_of(0.0).drop_grace_seconds == 1
