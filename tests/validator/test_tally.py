"""Probes summed over a window: as adding them up anew each time would have it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey
from hippy.validator.scoring import Tally
from hippy.validator.tally import TallyWindow

ANN, BEN = (PublicKey(name * 32) for name in (b"a", b"b"))

tallies = st.builds(Tally, *[st.integers(0, 3)] * 6)
histories = st.lists(
    st.tuples(st.integers(1, 4), st.dictionaries(st.sampled_from([ANN, BEN]), tallies)), min_size=1, max_size=20
)
"""By how many epochs each is later than the one before, and what was counted in it."""


@settings(derandomize=True, deadline=None, max_examples=60)
@given(histories, st.integers(1, 6))
def test_sums_are_those_of_the_newest_epochs_however_many_are_missing(
    history: list[tuple[int, dict[PublicKey, Tally]]], epochs_max: int
) -> None:
    window, epoch, kept = TallyWindow(epochs_max), 0, dict[int, dict[PublicKey, Tally]]()
    for later, counted in history:
        epoch += later
        window.add(epoch, counted)
        kept[epoch] = counted
        for miner in (ANN, BEN):
            newest = [each.get(miner, Tally()) for at, each in kept.items() if at > epoch - epochs_max]
            assert window.sum_of(miner) == sum(newest, Tally())


def test_a_miner_nobody_probed_has_sums_of_zero() -> None:
    assert TallyWindow(3).sum_of(ANN) == Tally()


def test_a_gap_longer_than_the_window_leaves_the_new_epoch_alone() -> None:
    window = TallyWindow(140)
    window.add(1, {ANN: Tally(live_ok=5, live_total=6)})
    window.add(141, {ANN: Tally(live_ok=1, live_total=1)})
    assert window.sum_of(ANN) == Tally(live_ok=1, live_total=1)


@pytest.mark.parametrize("epoch", [6, 7])
def test_no_epoch_is_added_twice_or_behind_another(epoch: int) -> None:
    window = TallyWindow(3)
    window.add(7, {})
    with pytest.raises(AssertionError):
        window.add(epoch, {})
