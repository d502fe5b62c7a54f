"""When a validator doubts itself by PROTOCOL §5.5, and how long it may."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey
from hippy.validator.audit.doubt import Doubt

MINERS = [PublicKey(bytes([number]) * 32) for number in range(1, 6)]
STRANGER = PublicKey(b"x" * 32)


def begun(miners: list[PublicKey] = MINERS, streak: int = 0) -> Doubt:
    doubt = Doubt(2, streak)
    doubt.begin_epoch(miners)
    return doubt


def lose(doubt: Doubt, miners: list[PublicKey]) -> None:
    for miner in miners:
        doubt.contact(miner, there=False)


def find(doubt: Doubt, miners: list[PublicKey]) -> None:
    for miner in miners:
        doubt.contact(miner, there=True)


def test_half_of_the_miners_missing_is_no_doubt_and_more_is() -> None:
    doubt = begun(MINERS[:4])
    lose(doubt, MINERS[:2])
    assert not doubt.doubts
    doubt.contact(MINERS[2], there=False)
    assert doubt.doubts


def test_doubt_ends_when_enough_answer_again() -> None:
    doubt = begun()
    lose(doubt, MINERS)
    find(doubt, MINERS[:2])
    assert doubt.doubts
    doubt.contact(MINERS[2], there=True)
    assert not doubt.doubts


def test_only_the_last_contact_counts() -> None:
    doubt = begun()
    for _ in range(9):
        doubt.contact(MINERS[0], there=False)
    assert not doubt.doubts


def test_miners_that_are_not_audited_do_not_count() -> None:
    doubt = begun(MINERS[:1])
    doubt.contact(STRANGER, there=False)
    assert not doubt.doubts
    assert not begun([]).doubts


def test_new_miners_count_as_there_and_old_ones_as_they_were() -> None:
    doubt = begun(MINERS[:3])
    lose(doubt, MINERS[:3])
    doubt.begin_epoch(MINERS[:5])
    assert doubt.doubts
    doubt.begin_epoch([*MINERS, STRANGER])
    assert not doubt.doubts


def test_a_validator_may_doubt_itself_in_two_epochs_in_a_row_and_then_counts_again() -> None:
    doubt, doubted = begun(), []
    lose(doubt, MINERS)
    for _ in range(5):
        doubted.append(doubt.doubts)
        doubt.begin_epoch(MINERS)
    assert doubted == [True, True, False, False, False]


def test_it_counts_until_an_epoch_in_which_most_miners_were_there_throughout() -> None:
    doubt = begun(streak=2)
    lose(doubt, MINERS)
    find(doubt, MINERS)
    doubt.begin_epoch(MINERS)  # they are back, but were missing in the epoch that ended
    assert doubt.streak == 3
    lose(doubt, MINERS)
    assert not doubt.doubts
    find(doubt, MINERS)
    doubt.begin_epoch(MINERS)
    doubt.begin_epoch(MINERS)  # an epoch without a gap has ended
    lose(doubt, MINERS)
    assert doubt.doubts


def test_the_row_of_an_earlier_run_goes_on() -> None:
    """Otherwise a validator that is started again every hour could doubt itself for ever."""
    doubt = begun(streak=2)
    assert doubt.streak == 2
    lose(doubt, MINERS)
    assert not doubt.doubts


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12), max_size=12))
def test_doubt_is_had_in_at_most_two_epochs_in_a_row(epochs: list[list[tuple[int, bool]]]) -> None:
    doubt, row = Doubt(2), 0
    there = dict.fromkeys(MINERS, True)
    for contacts in epochs:
        doubt.begin_epoch(MINERS)
        had = doubt.doubts
        for number, answered in contacts:
            doubt.contact(MINERS[number], there=answered)
            there[MINERS[number]] = answered
            had = had or doubt.doubts
            assert not doubt.doubts or sum(there.values()) < 3
        row = row + 1 if had else 0
        assert row <= 2
