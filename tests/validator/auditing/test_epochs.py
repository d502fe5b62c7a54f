"""What a validator keeps of its audits: in order, without gaps, for a while."""

from __future__ import annotations

from functools import cache, partial

import pytest

from hippy.errors import TemporaryError
from hippy.ids import ZERO_ID, MessageId, PublicKey, Root
from hippy.kv import Transaction
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.testing.kv import MemoryDatabase
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.auditing import epochs
from hippy.validator.scoring import Evidence, Leaves, Tally, next_score
from hippy.validator.verifying.published import split_evidence
from hippy.wire.audit import EpochHeader, HeadName
from hippy.wire.score import ACCOUNTS_MAX, ScoreRules, ScoreSheet
from tests.validator.world import HOME

ANN, BEN, CLEO = (PublicKey(name * 32) for name in (b"a", b"b", b"c"))


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@cache
def header(epoch: int) -> EpochHeader:
    unsigned = EpochHeader(
        network=HOME.network,
        netuid=HOME.netuid,
        validator=HOME.hotkey,
        epoch=epoch,
        time=epoch,
        seed_commit=bytes(32),
        prev_header=MessageId(ZERO_ID),
        first_round=epoch,
        rounds=0,
        heads=(HeadName(home=HOME.hotkey, term=1, seq=0, head=MessageId(ZERO_ID)),),
    )
    return unsigned.signed(HOME.identity, HOME.network)


def entry(number: int, epoch: int = 7) -> TranscriptEntry:
    return TranscriptEntry(epoch, ANN, number, 9, 0, 1, Outcome.UNKNOWN)


def sheet(epoch: int, *miners: PublicKey) -> ScoreSheet:
    rows = (
        next_score(None, Evidence(miner, ANN, 1, epoch, 0, Leaves(), Tally(), 0), ScoreRules(), epoch=epoch)
        for miner in miners
    )
    return ScoreSheet(
        netuid=HOME.netuid,
        validator=HOME.hotkey,
        epoch=epoch,
        prev_sheet=MessageId(ZERO_ID),
        rules=ScoreRules(),
        miners=tuple(rows),
    )


async def test_the_newest_and_the_oldest_header_are_by_number(database: MemoryDatabase) -> None:
    assert await database.read(epochs.kept_epochs) is None
    assert await database.read(epochs.newest_header) is None
    assert await database.read(epochs.oldest_header) is None
    for epoch in (255, 256, 9):
        await database.transact(partial(epochs.put_header, header=header(epoch)))
    kept = await database.read(epochs.kept_epochs)
    assert kept is not None
    assert (kept.first, kept.last) == (9, 256)
    assert await database.read(epochs.newest_header) == header(256)
    assert await database.read(epochs.oldest_header) == header(9)


class TestTranscript:
    async def test_entries_come_back_in_the_order_in_which_they_were_entered(self, database: MemoryDatabase) -> None:
        made = [entry(number) for number in (5, 300, 1, 0)]
        for each in made:
            await database.transact(partial(epochs.put_entry, epoch=7, entry=each))
        assert await database.read(lambda reader: list(epochs.entries(reader, 7))) == made
        assert await database.read(lambda reader: list(epochs.entries(reader, 8))) == []

    async def test_a_transaction_that_failed_leaves_no_gap(self, database: MemoryDatabase) -> None:
        def fail(txn: Transaction) -> None:
            epochs.put_entry(txn, 7, entry(1), b"evidence")
            raise TemporaryError("disk")

        await database.transact(lambda txn: epochs.put_entry(txn, 7, entry(0)))
        with pytest.raises(TemporaryError):
            await database.transact(fail)
        await database.transact(lambda txn: epochs.put_entry(txn, 7, entry(2), b"two"))
        found = await database.read(lambda reader: [key for key, _ in reader.scan(epochs.ASKED)])
        assert [int.from_bytes(key[-4:], "big") for key in found] == [0, 1]
        page = await database.read(lambda reader: epochs.evidence_page(reader, 7, 0, 999))
        assert split_evidence(page, 9) == [b"", b"two"]

    async def test_a_new_header_begins_the_next_transcript_at_its_first_place(self, database: MemoryDatabase) -> None:
        def work(txn: Transaction) -> None:
            epochs.put_entry(txn, 7, entry(0))
            epochs.put_entry(txn, 7, entry(1))
            epochs.put_header(txn, header(8))
            epochs.put_entry(txn, 8, entry(2), b"e")

        await database.transact(work)
        assert await database.read(epochs.entry_count) == 1
        assert await database.read(lambda reader: epochs.evidence_page(reader, 8, 0, 9)) == b"\1\0\0\0e"


class TestEvidencePages:
    async def fill(self, database: MemoryDatabase, *items: bytes) -> None:
        def work(txn: Transaction) -> None:
            for number, item in enumerate(items):
                epochs.put_entry(txn, 7, entry(number), item)
            epochs.put_entry(txn, 8, entry(99), b"of another epoch")

        await database.transact(work)

    async def pages(self, database: MemoryDatabase, bytes_max: int) -> list[list[bytes]]:
        pages, taken = list[list[bytes]](), 0
        read = partial(epochs.evidence_page, epoch=7, bytes_max=bytes_max)
        while page := await database.read(partial(read, first_place=taken)):
            assert len(page) <= bytes_max or len(split_evidence(page, 99)) == 1
            pages.append(split_evidence(page, 99))
            taken += len(pages[-1])
        return pages

    async def test_pages_hold_what_fits_and_together_everything(self, database: MemoryDatabase) -> None:
        await self.fill(database, b"one", b"", b"three", b"four")
        assert await self.pages(database, 11) == [[b"one", b""], [b"three"], [b"four"]]
        assert await self.pages(database, 10**6) == [[b"one", b"", b"three", b"four"]]

    async def test_an_item_longer_than_a_page_stands_alone(self, database: MemoryDatabase) -> None:
        await self.fill(database, b"", b"x" * 100, b"y")
        assert await self.pages(database, 20) == [[b""], [b"x" * 100], [b"y"]]

    @pytest.mark.parametrize("place", [3, 65_536, 2**32, 2**32 + 1, 10**16])
    async def test_behind_the_last_entry_there_is_nothing(self, database: MemoryDatabase, place: int) -> None:
        await self.fill(database, b"one", b"two", b"three")
        assert await database.read(lambda reader: epochs.evidence_page(reader, 7, place, 999)) == b""


class TestMiners:
    async def test_histories_and_failures_come_newest_first(self, database: MemoryDatabase) -> None:
        def work(txn: Transaction) -> None:
            for epoch in (255, 256, 3, 70_000):
                epochs.put_sheet(txn, sheet(epoch, ANN))
                for number in (1, 0):
                    epochs.put_failure(txn, BatchKey(epoch, ANN, number), 5, 1, [Root(ANN)], answered=True)
            epochs.put_sheet(txn, sheet(999_999, BEN))
            epochs.put_failure(txn, BatchKey(999_999, BEN, 0), 5, 1, [], answered=False)

        await database.transact(work)
        history = await database.read(lambda reader: epochs.history_of(reader, ANN, 3))
        assert [past.epoch for past in history] == [70_000, 256, 255]
        assert [past.bytes for past in history] == [70_000, 256, 255]
        failures = await database.read(lambda reader: epochs.failures_of(reader, ANN, 3))
        assert [(each.epoch, each.batch) for each in failures] == [(70_000, 1), (70_000, 0), (256, 1)]
        assert await database.read(lambda reader: epochs.failures_of(reader, CLEO, 3)) == ()

    async def test_a_failure_names_eight_pieces_at_most(self, database: MemoryDatabase) -> None:
        roots = [Root(bytes([number]) * 32) for number in range(9)]
        await database.transact(lambda txn: epochs.put_failure(txn, BatchKey(7, ANN, 0), 5, 9, roots, answered=True))
        (failure,) = await database.read(lambda reader: epochs.failures_of(reader, ANN, 1))
        assert failure.roots == tuple(roots[:8])

    async def test_bytes_by_account_begin_with_the_largest_and_have_an_end(self, database: MemoryDatabase) -> None:
        many = {PublicKey(bytes([number]) * 32): number // 2 for number in range(ACCOUNTS_MAX + 5)}
        await database.transact(lambda txn: epochs.put_shares(txn, {ANN: many}))
        found = await database.read(lambda reader: epochs.shares_of(reader, ANN))
        expected = sorted(many.items(), key=lambda item: (-item[1], item[0]))[:ACCOUNTS_MAX]
        assert [(each.account, each.bytes) for each in found] == expected

    async def test_who_holds_nothing_any_more_has_no_bytes_of_an_earlier_epoch(self, database: MemoryDatabase) -> None:
        await database.transact(lambda txn: epochs.put_shares(txn, {ANN: {CLEO: 5}, BEN: {CLEO: 6}}))
        await database.transact(lambda txn: epochs.put_shares(txn, {BEN: {CLEO: 7}}))
        assert await database.read(lambda reader: epochs.shares_of(reader, ANN)) == ()
        (share,) = await database.read(lambda reader: epochs.shares_of(reader, BEN))
        assert share.bytes == 7


async def test_probes_come_back_by_epoch(database: MemoryDatabase) -> None:
    tallies = {BEN: Tally(1, 2, 3, 4, 5, 6), ANN: Tally(live_total=1)}
    await database.transact(lambda txn: epochs.put_probes(txn, 300, {}))
    await database.transact(lambda txn: epochs.put_probes(txn, 7, tallies))
    assert await database.read(lambda reader: list(epochs.scan_probes(reader))) == [(7, tallies), (300, {})]


async def test_the_streak_of_doubt_is_kept(database: MemoryDatabase) -> None:
    assert await database.read(epochs.get_doubt) == 0
    await database.transact(lambda txn: epochs.put_doubt(txn, 2))
    assert await database.read(epochs.get_doubt) == 2


def live_through(txn: Transaction, epoch: int) -> None:
    """Ten rows that are kept for a while, and two that are not of an epoch."""
    epochs.put_header(txn, header(epoch))
    epochs.put_entry(txn, epoch, entry(0, epoch), b"evidence")
    epochs.put_sheet(txn, sheet(epoch, ANN, BEN, CLEO))
    epochs.put_probes(txn, epoch, {})
    for miner in (ANN, CLEO):
        epochs.put_failure(txn, BatchKey(epoch, miner, 3), 5, 1, [], answered=False)
    epochs.put_doubt(txn, 1)


async def test_old_epochs_are_forgotten_in_portions_and_nothing_else_is(database: MemoryDatabase) -> None:
    alone = MemoryDatabase()
    await alone.transact(partial(live_through, epoch=7))
    for epoch in (5, 6, 7):
        await database.transact(partial(live_through, epoch=epoch))
    removed = [await database.transact(lambda txn: epochs.forget(txn, 7, 4)) for _ in range(6)]
    assert removed == [4, 4, 4, 4, 4, 0]
    left = await database.read(lambda reader: dict(reader.scan(b"")))
    assert left == await alone.read(lambda reader: dict(reader.scan(b"")))
