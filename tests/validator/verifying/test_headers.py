"""A stranger checks headers and log: secrets are committed to and revealed, and nothing is rewritten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hippy.identity import Identity
from hippy.ids import MessageId, PublicKey
from hippy.kv import Transaction
from hippy.proofs.challenge import seed_commit
from hippy.validator.log import append
from hippy.validator.placement import epoch_secret
from hippy.validator.verifying.difference import Difference
from hippy.wire.audit import EpochHeader, HeadName
from tests.validator.audit_record import FIRST, TEMPO, HonestValidator, Record, record_of, verify_record
from tests.validator.world import HOME, TERMS


async def difference(validator: HonestValidator) -> str:
    """What a stranger says of the record of a validator that lies."""
    record = await record_of(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record)
    return str(caught.value)


class ChangesHeader(HonestValidator):
    """Signs a header of one epoch with other values than it should."""

    def __init__(self, epoch: int, **changes: Any) -> None:
        super().__init__()
        self._epoch, self._changes = epoch, changes

    def header(self, txn: Transaction, epoch: int) -> EpochHeader:
        header = super().header(txn, epoch)
        return header.model_copy(update=self._changes) if epoch == self._epoch else header


class TestHeaders:
    async def test_an_honest_record_matches(self) -> None:
        matches = verify_record(await record_of(HonestValidator()))
        assert [(each.epoch, each.miners, each.batches, each.verdicts) for each in matches] == [
            (epoch, 3, 12, 768) for epoch in (11, 12, 13)
        ]
        assert all((each.leaves_ok, each.leaves_bad, each.testimony_ppm) == (768, 0, 0) for each in matches)

    async def test_the_validators_first_epoch_has_no_audits_and_matches(self) -> None:
        first, second = verify_record(await record_of(HonestValidator()), epochs=(FIRST, FIRST + 1))
        assert (first.batches, first.entries, second.batches) == (0, 0, 12)

    async def test_a_validator_that_slept_for_some_epochs_matches(self) -> None:
        class Sleeps(HonestValidator):
            asleep = range(12, 20)

        matches = verify_record(await record_of(Sleeps(), last=22), epochs=(11, 20, 21))
        assert [(match.epoch, match.batches) for match in matches] == [(11, 12), (20, 0), (21, 12)]

    async def test_a_secret_that_was_chosen_after_its_commitment_is_named(self) -> None:
        class Grinds(HonestValidator):
            def secret(self, epoch: int) -> bytes:
                return epoch_secret(b"another secret".ljust(32), epoch) if epoch == 12 else super().secret(epoch)

            def header(self, txn: Transaction, epoch: int) -> EpochHeader:
                header = super().header(txn, epoch)
                committed = seed_commit(HonestValidator.secret(self, epoch + 1))
                return header.model_copy(update={"seed_commit": committed})

        expected = "epoch 12: the secret revealed is not the one that the header of epoch 11 committed to"
        assert await difference(Grinds()) == expected

    async def test_a_secret_that_is_not_revealed_is_named(self) -> None:
        found = await difference(ChangesHeader(13, revealed=None))
        assert found.startswith("epoch 13: the header does not hold: a header tells all of the epoch before")

    async def test_a_header_that_somebody_else_signed_is_named(self) -> None:
        class Forged(HonestValidator):
            def signed_header(self, header: EpochHeader) -> EpochHeader:
                return header.signed(Identity.from_seed(b"x" * 32), HOME.network)

        assert "the header does not hold: the epoch-header message is not signed by" in await difference(Forged())

    @pytest.mark.parametrize(
        "changes", [{"network": b"x" * 32}, {"netuid": 8}, {"validator": PublicKey(b"x" * 32)}], ids=str
    )
    async def test_a_header_of_somewhere_else_is_named(self, changes: dict[str, Any]) -> None:
        expected = "epoch 12: the header is of another network, subnet or validator"
        assert await difference(ChangesHeader(12, **changes)) == expected

    async def test_rounds_without_a_commitment_are_named(self) -> None:
        found = await difference(ChangesHeader(FIRST, rounds=TEMPO))
        assert found == "epoch 10: no header committed to this epoch's secret, so 0 rounds were expected, 40 were found"

    async def test_an_epoch_too_short_to_be_one_is_named(self) -> None:
        found = await difference(ChangesHeader(12, rounds=1))
        assert found == "epoch 12: an epoch of about 40 beacon rounds was expected, 1 were found"

    @pytest.mark.parametrize("changes", [{"first_round": 1}, {"time": 1}], ids=["first round", "time"])
    async def test_a_header_that_goes_back_is_named(self, changes: dict[str, int]) -> None:
        (name,) = changes
        assert f"epoch 12: the {name.replace('_', ' ')} is 1, below" in await difference(ChangesHeader(12, **changes))

    async def test_a_header_that_was_exchanged_later_is_named(self) -> None:
        record = await record_of(HonestValidator())
        changed = record.headers[12].model_copy(update={"time": record.headers[12].time + 1})
        record.headers[12] = changed.signed(HOME.identity, HOME.network)
        with pytest.raises(Difference, match="epoch 12: the header of epoch 13 follows another header"):
            verify_record(record)

    async def test_a_header_that_denies_the_ones_before_is_named(self) -> None:
        nothing = {"prev_epoch": None, "revealed": None, "transcript_root": None, "sheet_id": None, "rounds": 0}
        found = await difference(ChangesHeader(12, prev_header=bytes(32), **nothing))
        assert found == "epoch 12: the header says that it is the first, but there is one of epoch 11"

    async def test_a_header_that_names_the_log_of_another_is_named(self) -> None:
        other = HeadName(home=PublicKey(b"x" * 32), term=1, seq=1, head=MessageId(bytes(32)))
        found = await difference(ChangesHeader(12, heads=(other,)))
        assert found == "epoch 12: the header names logs that are not its validator's"


class TestLog:
    async def test_a_header_beyond_the_log_is_named(self) -> None:
        record = await record_of(HonestValidator())
        page = record.pages[0]
        record.pages = [page.model_copy(update={"entries": page.entries[:2], "head": None})]
        with pytest.raises(Difference, match="epoch 10: the header names record 4 of the log, which ends at 2"):
            verify_record(record)

    async def test_a_log_that_was_rewritten_is_named(self) -> None:
        class Richer(HonestValidator):
            def commit(self, txn: Transaction, miners: list[Any], *, pay_class: Any = "paid") -> list[Any]:
                return super().commit(txn, miners, pay_class="unpaid")

        record, rewritten = await record_of(HonestValidator()), await record_of(Richer())
        record.pages = rewritten.pages
        with pytest.raises(Difference, match=r"epoch 10: the header names .* as record 4 of the log, which is"):
            verify_record(record)

    async def test_a_body_that_was_exchanged_is_named(self) -> None:
        def exchange(record: Record) -> None:
            (page,) = record.pages
            entry = page.entries[1]
            assert entry.segment is not None
            segment = entry.segment.model_copy(update={"pay_class": "unpaid"})
            entries = (page.entries[0], entry.model_copy(update={"segment": segment}), *page.entries[2:])
            record.pages = [page.model_copy(update={"entries": entries})]

        record = await record_of(HonestValidator())
        exchange(record)
        with pytest.raises(Difference, match="the log does not hold: log record 2 has another body than it names"):
            verify_record(record)

    async def test_the_log_of_another_validator_is_named(self) -> None:
        record = await record_of(HonestValidator())
        record.pages = [record.pages[0].model_copy(update={"home": PublicKey(b"x" * 32)})]
        with pytest.raises(Difference, match="the log is of another validator"):
            verify_record(record)

    async def test_records_by_another_home_are_named(self) -> None:
        class Mixed(HonestValidator):
            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 12:
                    append(txn, replace(HOME, identity=Identity.from_seed(b"x" * 32)), [TERMS], 1)

        record = await record_of(Mixed())
        ours = {"home": HOME.hotkey, "head": None}
        record.pages = [page.model_copy(update=ours) for page in record.pages]
        with pytest.raises(Difference, match="record 5 of the log is another log's"):
            verify_record(record)

    async def test_a_head_that_is_not_the_logs_end_is_named(self) -> None:
        record = await record_of(HonestValidator())
        page = record.pages[0]
        assert page.head is not None
        ahead = page.head.model_copy(update={"seq": 9}).signed(HOME.identity, HOME.network)
        record.pages = [page.model_copy(update={"head": ahead})]
        with pytest.raises(Difference, match="the log's head does not hold"):
            verify_record(record)
