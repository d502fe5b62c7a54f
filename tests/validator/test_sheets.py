"""Who is in a score sheet, in which order, and what of the sheet before lives on."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.chain.protocol import Metagraph, Neuron
from hippy.ids import ZERO_ID, PublicKey
from hippy.validator.held import HeldBytes
from hippy.validator.scoring import LEAF, Leaves, Tally
from hippy.validator.sheets import EpochFacts, age_epochs, is_escalated, make_sheet, score_of
from hippy.wire.score import ScoreRules, ScoreSheet

NETWORK, RULES = b"n" * 32, ScoreRules()
VALIDATOR, ANN, BEN, CLEO, DAN = (PublicKey(name * 32) for name in (b"v", b"a", b"b", b"c", b"d"))
TEMPO = 360


def neuron(uid: int, hotkey: PublicKey, *, registered_block: int = 0) -> Neuron:
    return Neuron(uid, hotkey, PublicKey(b"o" * 32), None, hotkey == VALIDATOR, 1, registered_block, 0.0)


def metagraph(*hotkeys: PublicKey, block: int = 10 * TEMPO) -> Metagraph:
    """The uids run against the order of hotkeys."""
    ordered = sorted([VALIDATOR, *hotkeys], reverse=True)
    return Metagraph(block, TEMPO, tuple(neuron(uid, hotkey) for uid, hotkey in enumerate(ordered)))


def sheet(
    before: ScoreSheet | None = None,
    *,
    held: dict[PublicKey, int] | None = None,
    leaves: dict[PublicKey, Leaves] | None = None,
    tallies: dict[PublicKey, Tally] | None = None,
    registered: tuple[PublicKey, ...] = (ANN, BEN, CLEO, DAN),
    epoch: int = 7,
    **changes: Any,
) -> ScoreSheet:
    facts = EpochFacts(
        {miner: HeldBytes(size, 0, {}) for miner, size in (held or {}).items()}, leaves or {}, tallies or {}
    )
    return make_sheet(
        before,
        facts,
        metagraph(*registered, **changes),
        RULES,
        network=NETWORK,
        netuid=3,
        validator=VALIDATOR,
        epoch=epoch,
    )


def members(made: ScoreSheet) -> list[PublicKey]:
    return [score.hotkey for score in made.miners]


def test_who_holds_was_audited_or_is_in_the_sheet_before_has_a_row_by_hotkey() -> None:
    before = sheet(held={CLEO: 1}, epoch=6)
    made = sheet(before, held={BEN: 1}, leaves={ANN: Leaves(1, 0)}, tallies={DAN: Tally(live_total=3)})
    assert members(made) == [ANN, BEN, CLEO]


def test_a_row_is_carried_on_for_as_long_as_its_miner_is_registered() -> None:
    first = sheet(held={ANN: 1, BEN: 1}, epoch=6)
    second = sheet(first, registered=(BEN,))
    assert members(second) == [BEN]
    assert members(sheet(second, epoch=8)) == [BEN]


def test_the_validator_has_no_row_though_it_holds() -> None:
    assert members(sheet(held={VALIDATOR: 5, ANN: 1}, leaves={VALIDATOR: Leaves(3, 0)})) == [ANN]


def test_a_row_tells_uid_bytes_leaves_and_probes_of_its_miner() -> None:
    tally = Tally(5, 6, 1, 2, 300, 400)
    (score,) = sheet(held={BEN: 900}, leaves={BEN: Leaves(60, 4)}, tallies={BEN: tally}).miners
    assert (score.uid, score.paid_bytes, score.unpaid_bytes) == (3, 900, 0)  # V D C B A
    assert (score.leaves_ok, score.leaves_bad) == (60, 4)
    assert (score.live_ok, score.live_total, score.reads_ok, score.reads_total) == (5, 6, 1, 2)
    assert (score.read_bytes, score.read_microseconds) == (300, 400)


def test_what_was_shown_and_not_shown_before_is_remembered() -> None:
    before = sheet(held={ANN: 1}, leaves={ANN: Leaves(100, 20)}, epoch=6)
    (score,) = sheet(before, leaves={ANN: Leaves(10, 0)}).miners
    assert score.slow_beta == 20 * LEAF * 95 // 100
    assert score.fast_alpha == (LEAF // 2 + 100 * LEAF) // 2 + 10 * LEAF
    (new,) = sheet(leaves={ANN: Leaves(10, 0)}).miners
    assert new.slow_beta == 0


def test_a_sheet_names_the_one_before() -> None:
    first = sheet(epoch=6)
    assert first.prev_sheet == ZERO_ID
    assert sheet(first).prev_sheet == first.id(NETWORK)


def test_a_miner_with_bad_leaves_is_escalated_for_four_epochs() -> None:
    made = sheet(leaves={ANN: Leaves(63, 1), BEN: Leaves(64, 0)}, epoch=7)
    assert [is_escalated(made, ANN, epoch) for epoch in (8, 11, 12)] == [True, True, False]
    assert not is_escalated(made, BEN, 8)
    assert not is_escalated(made, CLEO, 8)
    assert not is_escalated(None, ANN, 8)


def test_an_escalation_lives_on_in_the_sheets_after_it() -> None:
    made = sheet(leaves={ANN: Leaves(63, 1)}, epoch=7)
    for epoch in (8, 9, 10):
        made = sheet(made, leaves={ANN: Leaves(64, 0)}, epoch=epoch)
        assert is_escalated(made, ANN, epoch + 1)
    made = sheet(made, leaves={ANN: Leaves(64, 0)}, epoch=11)
    assert not is_escalated(made, ANN, 12)


def test_a_miner_without_a_row_has_no_score() -> None:
    made = sheet(held={ANN: 1})
    found = score_of(made, ANN)
    assert found is not None
    assert found.hotkey == ANN
    assert score_of(made, BEN) is None
    assert score_of(None, ANN) is None


@pytest.mark.parametrize(
    ("block", "registered_block", "tempo", "age"),
    [(3_600, 0, 360, 10), (3_599, 0, 360, 9), (3_600, 3_500, 360, 0), (100, 200, 360, 0), (100, 90, 0, 10)],
    ids=["whole epochs", "begun ones do not count", "new", "registered in a later block than we see", "tempo 0"],
)
def test_age_is_in_whole_epochs_since_registration(block: int, registered_block: int, tempo: int, age: int) -> None:
    assert age_epochs(neuron(1, ANN, registered_block=registered_block), Metagraph(block, tempo, ())) == age
