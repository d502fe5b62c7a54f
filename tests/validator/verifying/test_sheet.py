"""A stranger computes every score again, and holds the weights on chain against them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hippy.chain.protocol import Metagraph
from hippy.ids import MessageId, PublicKey
from hippy.kv import Transaction
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.onchain import WEIGHT_MAX, matching_sheet
from hippy.validator.verifying.sheet import Registration
from hippy.wire.audit import EpochHeader
from hippy.wire.score import MinerScore, ScoreRules, ScoreSheet
from tests.validator.audit_record import AUDITED, HonestValidator, metagraph_at, record_of, verify_record
from tests.validator.world import HOME, MINERS

FRIEND = AUDITED[0]
FRIEND_KEY = FRIEND.public_key


class Scores(HonestValidator):
    """Publishes a sheet for epoch 12 in which the friend's row has other numbers."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._changes = changes

    def scored(self, sheet: ScoreSheet) -> ScoreSheet:
        if sheet.epoch != 12:
            return sheet
        rows = tuple(self.row(row) if row.hotkey == FRIEND_KEY else row for row in sheet.miners)
        return sheet.model_copy(update={"miners": rows})

    def row(self, row: MinerScore) -> MinerScore:
        return row.model_copy(update=self._changes)


class ChangesSheet(HonestValidator):
    """Publishes a sheet for epoch 12 with other fields."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._changes = changes

    def scored(self, sheet: ScoreSheet) -> ScoreSheet:
        return sheet.model_copy(update=self._changes) if sheet.epoch == 12 else sheet


async def difference(validator: HonestValidator, **changes: Any) -> str:
    """What a stranger says of the record of a validator that lies."""
    record = await record_of(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record, **changes)
    return str(caught.value)


class TestRows:
    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("paid_bytes", 70_000),
            ("unpaid_bytes", 10),
            ("leaves_ok", 300),
            ("leaves_bad", 1),
            ("slow_alpha", 1),
            ("fast_alpha", 1),
            ("slow_beta", 1),
            ("escalated_until", 20),
            ("proof_ppm", 999_999),
            ("uptime_ppm", 999_999),
            ("reads_ppm", 1),
            ("speed_ppm", 1),
            ("age_ppm", 1_000_000),
            ("weight", 1_000_000),
        ],
    )
    async def test_a_number_that_does_not_follow_is_named(self, name: str, found: int) -> None:
        said = await difference(Scores(**{name: found}))
        assert said.startswith(f"epoch 12, miner {FRIEND.ss58}: {name} ")
        assert said.endswith(f"was expected, {found} was found")

    async def test_an_escalation_that_is_left_out_is_named(self) -> None:
        class Forgives(Scores):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    friend = self.miners[FRIEND_KEY]
                    friend.gone.add(min(friend.pieces))

        said = await difference(Forgives(escalated_until=None))
        assert said == f"epoch 12, miner {FRIEND.ss58}: escalated_until 16 was expected, None was found"

    @pytest.mark.parametrize(("name", "what"), [("live", "liveness checks"), ("reads", "reads")])
    async def test_more_successes_than_probes_are_named(self, name: str, what: str) -> None:
        assert f"99 of {6 if name == 'live' else 2} {what} succeeded" in await difference(Scores(**{f"{name}_ok": 99}))

    async def test_a_row_under_another_uid_is_named(self) -> None:
        said = await difference(Scores(uid=9))
        assert said == f"epoch 12, miner {FRIEND.ss58}: uid 1 was expected, 9 was found"

    async def test_an_age_that_the_chain_does_not_show_is_named(self) -> None:
        said = await difference(Scores(age_epochs=280))
        assert said == f"epoch 12, miner {FRIEND.ss58}: an age of about 12 epochs was expected, 280 was found"


class TestSheet:
    async def test_a_miner_without_a_row_is_named(self) -> None:
        class Omits(HonestValidator):
            def scored(self, sheet: ScoreSheet) -> ScoreSheet:
                return sheet.model_copy(update={"miners": sheet.miners[1:]})

        record = await record_of(Omits())
        omitted = min(miner.public_key for miner in AUDITED)
        with pytest.raises(Difference, match="the sheet has no row for it, though it is registered") as caught:
            verify_record(record)
        assert caught.value.miner == omitted
        young = {miner.public_key: Registration(uid, 14) for uid, miner in enumerate(MINERS, 1)}
        assert [match.left_out for match in verify_record(record, registrations=young)] == [1, 1, 1]

    async def test_a_row_for_somebody_who_holds_nothing_is_named(self) -> None:
        class Adds(HonestValidator):
            def scored(self, sheet: ScoreSheet) -> ScoreSheet:
                if sheet.epoch != 12:
                    return sheet
                stranger = sheet.miners[0].model_copy(update={"hotkey": PublicKey(b"\xff" * 32)})
                return sheet.model_copy(update={"miners": (*sheet.miners, stranger)})

        assert "the sheet has a row for it, though it holds nothing" in await difference(Adds())

    async def test_rows_out_of_order_are_named(self) -> None:
        class Shuffles(HonestValidator):
            def scored(self, sheet: ScoreSheet) -> ScoreSheet:
                return sheet.model_copy(update={"miners": sheet.miners[::-1]})

        assert (
            await difference(Shuffles())
            == "epoch 11: the sheet's rows are not in the order of their hotkeys, one for each"
        )

    @pytest.mark.parametrize("changes", [{"netuid": 8}, {"epoch": 11}, {"validator": FRIEND_KEY}], ids=str)
    async def test_a_sheet_of_somewhere_else_is_named(self, changes: dict[str, Any]) -> None:
        said = await difference(ChangesSheet(**changes))
        assert said == "epoch 12: the sheet is of another subnet, validator or epoch"

    async def test_a_sheet_that_follows_another_is_named(self) -> None:
        said = await difference(ChangesSheet(prev_sheet=b"x" * 32))
        assert said == "epoch 12: the sheet follows another sheet than that of the epoch before"

    async def test_a_sheet_that_was_altered_later_is_named(self) -> None:
        record = await record_of(HonestValidator())
        record.sheets[12] = record.sheets[12].model_copy(update={"miners": ()})
        with pytest.raises(Difference, match="epoch 12: the score sheet is not the one that the header of epoch 13"):
            verify_record(record)

    async def test_rules_of_its_own_are_told(self) -> None:
        class Generous(HonestValidator):
            def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
                sheet = super().sheet(txn, epoch)
                rules = sheet.rules.model_copy(update={"window_epochs": 1})
                return sheet.model_copy(update={"rules": rules})

        matches = verify_record(await record_of(Generous()))
        assert [match.rules for match in matches] == ["window_epochs 1, not 140"] * 3


class TestTranscript:
    async def test_a_transcript_that_was_altered_later_is_named(self) -> None:
        record = await record_of(HonestValidator())
        altered = bytearray(record.transcripts[12])
        altered[200] ^= 1
        record.transcripts[12] = bytes(altered)
        with pytest.raises(Difference, match="epoch 12: the transcript does not hold"):
            verify_record(record)

    async def test_the_transcript_of_another_epoch_is_named(self) -> None:
        record = await record_of(HonestValidator())
        record.transcripts[12] = record.transcripts[11]
        with pytest.raises(Difference, match="epoch 12: the transcript is of another epoch"):
            verify_record(record)


def sheet(epoch: int, *weights: int) -> ScoreSheet:
    """A sheet with these weights for the first miners."""
    blank = dict.fromkeys(MinerScore.model_fields, 0)
    rows = tuple(
        MinerScore.model_validate(
            {**blank, "hotkey": MINERS[at].public_key, "coldkey": b"c" * 32, "uid": at + 1, "weight": weight}
        )
        for at, weight in enumerate(weights)
    )
    return ScoreSheet(
        netuid=1, validator=HOME.hotkey, epoch=epoch, prev_sheet=MessageId(bytes(32)), rules=ScoreRules(), miners=rows
    )


def on_chain(*weights: int) -> dict[int, float]:
    """What a chain makes of weights: 16-bit parts of the largest, as shares."""
    parts = [weight * WEIGHT_MAX // max(weights) for weight in weights]
    return {uid: part / sum(parts) for uid, part in enumerate(parts, 1) if part}


class TestWeights:
    METAGRAPH = metagraph_at(12)

    def epoch_of(
        self, sheets: list[ScoreSheet], found: dict[int, float], metagraph: Metagraph = METAGRAPH
    ) -> int | None:
        return matching_sheet(sheets, found, metagraph, HOME.hotkey)

    @pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 10**12), (10**9, 3, 7), (5,), tuple(range(1, 17))], ids=str)
    def test_weights_match_their_sheet_as_the_chain_rounds_them(self, weights: tuple[int, ...]) -> None:
        assert self.epoch_of([sheet(11, 7, 1), sheet(12, *weights)], on_chain(*weights)) == 12

    def test_weights_may_be_of_the_sheet_before(self) -> None:
        assert self.epoch_of([sheet(11, 1, 1), sheet(12, 1, 2)], on_chain(1, 1)) == 11

    def test_a_uid_that_passed_to_another_neuron_still_matches(self) -> None:
        neurons = tuple(
            replace(neuron, hotkey=PublicKey(b"x" * 32)) if neuron.uid == 2 else neuron
            for neuron in self.METAGRAPH.neurons
        )
        metagraph = replace(self.METAGRAPH, neurons=neurons)
        assert self.epoch_of([sheet(12, 1, 2)], on_chain(1, 2), metagraph) == 12
        assert self.epoch_of([sheet(12, 1, 2)], {1: 1.0}, metagraph) == 12

    def test_weights_of_no_sheet_are_named(self) -> None:
        with pytest.raises(Difference) as caught:
            self.epoch_of([sheet(11, 1, 1), sheet(12, 1, 3)], {1: 0.9, 2: 0.1})
        assert str(caught.value) == (
            "epoch 12: the weights on chain are those of no sheet from epoch 11 on: uid 1 has 0.900000 of all weights, "
            "0.250000 was expected by the newest"
        )

    def test_a_small_surplus_is_named(self) -> None:
        with pytest.raises(Difference):
            self.epoch_of([sheet(11, 1, 1), sheet(12, 1, 3)], {1: 0.251, 2: 0.749})

    def test_weights_for_a_stranger_are_named(self) -> None:
        with pytest.raises(Difference, match=r"uid 9 has 0\.500000 of all weights, 0\.000000 was expected"):
            self.epoch_of([sheet(11, 1, 1), sheet(12, 1, 1)], {1: 0.25, 2: 0.25, 9: 0.5})

    def test_no_weights_at_all_are_named_once_there_was_time(self) -> None:
        assert self.epoch_of([sheet(12, 1, 1)], {}) is None
        with pytest.raises(Difference):
            self.epoch_of([sheet(11, 1, 1), sheet(12, 1, 1)], {})

    def test_sheets_without_weights_tell_nothing(self) -> None:
        assert self.epoch_of([sheet(11), sheet(12, 0, 0)], {1: 1.0}) is None
