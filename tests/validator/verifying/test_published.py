"""What a validator publishes is read with limits and in order, and verified over the network as it is on paper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from hippy.chain.local import LocalChain, open_local_chain
from hippy.errors import NotFoundError, ProtocolError, TooLargeError
from hippy.hashing import u32
from hippy.kv import Transaction
from hippy.testing.clock import START_SECONDS, VirtualClock
from hippy.transport.client import Peer, open_http
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.published import EVIDENCE_BYTES_MAX, Published, split_evidence
from hippy.validator.verifying.record import Result, verify_published
from hippy.wire.audit import EpochHeader, Epochs
from hippy.wire.log import LogPage
from hippy.wire.score import SHEET_BYTES_MAX
from tests.validator.audit_record import (
    AUDITED,
    BEACON_SECRET,
    COLDKEY,
    LAST,
    TEMPO,
    HonestValidator,
    Record,
    metagraph_at,
    pages_of,
    record_of,
    time_of,
)
from tests.validator.audit_server import RecordServer
from tests.validator.world import HOME


@dataclass
class Reading:
    """A record that is served, and the chain it is checked by."""

    server: RecordServer
    published: Published
    chain: LocalChain
    clock: VirtualClock

    async def weigh(self, record: Record, epoch: int) -> None:
        """Set the weights of a sheet."""
        await self.chain.set_weights({score.uid: float(score.weight) for score in record.sheets[epoch].miners})

    async def verify(self, epochs_max: int = 3) -> Result:
        return await verify_published(
            self.published, self.chain, HOME.hotkey, epochs_max=epochs_max, clock=self.clock, rng=Random(1)
        )


@asynccontextmanager
async def reading(directory: Path, record: Record, *, epoch: int = LAST) -> AsyncIterator[Reading]:
    """Serve a record while the chain is in the middle of an epoch."""
    path, server = directory / "chain.sqlite", RecordServer(record)
    born = VirtualClock(START_SECONDS)
    LocalChain.create(
        path,
        clock=born,
        network=HOME.network,
        genesis_secret=BEACON_SECRET,
        netuid=HOME.netuid,
        block_seconds=1.0,
        tempo_blocks=TEMPO,
    )
    async with open_local_chain(path, hotkey=HOME.hotkey, clock=born) as chain:
        for neuron in metagraph_at(0).neurons:
            permit = neuron.uid == 0
            await chain.register(neuron.hotkey, COLDKEY, validator_permit=permit, stake_rao=1)
    clock = VirtualClock(START_SECONDS + (epoch + 0.5) * TEMPO)
    async with (
        open_local_chain(path, hotkey=HOME.hotkey, clock=clock) as chain,
        server.serving(clock) as endpoint,
        open_http(None, clock) as http,
    ):
        yield Reading(server, Published(http, Peer(endpoint, HOME.hotkey)), chain, clock)


async def honest() -> Record:
    return await record_of(HonestValidator())


class TestVerifying:
    async def test_an_honest_validator_matches_over_the_network(self, tmp_path: Path) -> None:
        record = await honest()
        async with reading(tmp_path, record) as read:
            await read.weigh(record, 12)
            result = await read.verify()
        assert result.difference is None
        assert [(match.epoch, match.verdicts) for match in result.matches] == [(11, 768), (12, 768), (13, 768)]
        assert (result.weights_epoch, result.newest_epoch, result.chain_epoch) == (13, 14, 14)

    async def test_the_newest_epochs_are_verified_and_no_more_is_read(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            result = await read.verify(epochs_max=1)
            assert [match.epoch for match in result.matches] == [13]
            assert result.order_epochs == 3
            assert not any(path.startswith(("/v1/epochs/11/ev", "/v1/epochs/11/sh")) for path in read.server.asked)

    async def test_a_young_validator_is_verified_from_its_first_epoch(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            result = await read.verify(epochs_max=50)
        assert [match.epoch for match in result.matches] == [10, 11, 12, 13]

    async def test_weights_on_chain_of_no_sheet_are_named(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            await read.chain.set_weights({1: 0.9, 2: 0.1})
            result = await read.verify()
        assert "the weights on chain are those of no sheet" in str(result.difference)
        assert len(result.matches) == 3

    async def test_epochs_before_the_first_difference_match(self, tmp_path: Path) -> None:
        record = await honest()
        record.evidence[12][3] = b""
        async with reading(tmp_path, record) as read:
            result = await read.verify()
        assert [match.epoch for match in result.matches] == [11]
        assert result.difference is not None
        assert result.difference.epoch == 12

    async def test_a_beacon_of_the_future_is_named(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest(), epoch=LAST - 1) as read:
            result = await read.verify()
        assert "drawn from a beacon round that is not known yet" in str(result.difference)

    async def test_first_rounds_of_long_ago_are_named_before_their_beacons_are_asked_for(self, tmp_path: Path) -> None:
        class Old(HonestValidator):
            def first_round(self, epoch: int) -> int:
                return epoch

        async with reading(tmp_path, await record_of(Old())) as read:
            result = await read.verify()
        assert "epoch 14: the header was not made when its epoch began" in str(result.difference)

    async def test_what_was_wrong_before_the_epochs_asked_for_is_told_and_does_not_fail_them(
        self, tmp_path: Path
    ) -> None:
        record = await honest()
        record.transcripts[11] = record.transcripts[10]
        async with reading(tmp_path, record) as read:
            await read.weigh(read.server.record, 13)
            result = await read.verify(epochs_max=1)
        assert (result.difference, result.order_epochs) == (None, 1)
        assert [str(remark) for remark in result.remarks] == [
            "epoch 11: before the epochs checked: the transcript is of another epoch, validator or network"
        ]

    async def test_a_transcript_before_that_is_not_shown_is_told(self, tmp_path: Path) -> None:
        record = await honest()
        del record.transcripts[12]
        async with reading(tmp_path, record) as read:
            await read.weigh(read.server.record, 13)
            result = await read.verify(epochs_max=1)
        assert (result.difference, result.order_epochs) == (None, 0)
        assert [remark.epoch for remark in result.remarks] == [12]

    async def test_a_batch_that_was_settled_before_the_epochs_asked_for_is_named_when_it_counts_again(
        self, tmp_path: Path
    ) -> None:
        class Twice(HonestValidator):
            key = BatchKey(11, AUDITED[0].public_key, 0)

            def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
                if header.epoch == 13:
                    self.owed[self.key] = self.first

            def ask(self, txn: Transaction, epoch: int, key: BatchKey, time: int) -> None:
                if key == self.key:
                    self.first = self.owed[key]
                super().ask(txn, epoch, key, time)

        async with reading(tmp_path, await record_of(Twice())) as read:
            result = await read.verify(epochs_max=1)
        assert result.difference is not None
        assert result.difference.what == ("it was settled in epoch 11, and the transcript of epoch 13 counts it again")

    async def test_a_newest_record_that_headers_leave_out_is_found_behind_the_last_page(self, tmp_path: Path) -> None:
        record = await record_of(Late())
        (page,) = record.pages
        named, behind = page.entries[:4], page.entries[4:]
        assert len(behind) == 1
        record.pages = [
            page.model_copy(update={"entries": named, "head": None}),
            page.model_copy(update={"entries": behind}),
        ]
        async with reading(tmp_path, record) as read:
            result = await read.verify()
        assert "which names record 4 as the newest" in str(result.difference)

    async def test_weights_of_long_ago_are_named(self, tmp_path: Path) -> None:
        record = await record_of(Grows())
        async with reading(tmp_path, record) as read:
            await read.weigh(record, 10)
            result = await read.verify()
        assert str(result.difference) == (
            "epoch 10: the weights on chain are those of this epoch, and 3 sheets with other weights followed"
        )

    async def test_headers_that_begin_anew_are_named(self, tmp_path: Path) -> None:
        record = await honest()
        async with reading(tmp_path, record) as read:
            read.server.answers["/v1/epochs"] = Epochs(first=3, last=14).encode()
            result = await read.verify(epochs_max=50)
        assert "the header says that it is the first, but there is one of epoch 3" in str(result.difference)

    async def test_headers_of_older_batches_are_read_back(self, tmp_path: Path) -> None:
        class Quiet(HonestValidator):
            def is_answered(self, key: BatchKey, attempt: int) -> bool:
                return key.epoch != 11 or attempt == 2

        async with reading(tmp_path, await record_of(Quiet())) as read:
            (match,) = (await read.verify(epochs_max=1)).matches
        assert (match.epoch, match.entries, match.verdicts) == (13, 24, 24 * 64)

    async def test_nothing_closed_yet_is_said(self, tmp_path: Path) -> None:
        record = await record_of(HonestValidator(), last=10)
        async with reading(tmp_path, record) as read:
            with pytest.raises(NotFoundError, match="has closed no epoch that can be verified"):
                await read.verify()

    async def test_transcripts_next_to_forgotten_headers_are_not_verified(self, tmp_path: Path) -> None:
        record = await honest()
        del record.headers[10]
        async with reading(tmp_path, record) as read:
            with pytest.raises(NotFoundError, match="no epoch that can be verified: it keeps epochs 11 to 14"):
                await read.verify()


class Late(HonestValidator):
    """Writes to its log before the newest header, which does not name it."""

    def publish(self, txn: Transaction, last: int = LAST) -> Record:
        record = super().publish(txn, last)
        self.now = time_of(TEMPO * (last - 1))
        self.commit(txn, list(self.miners.values()))
        record.pages = list(pages_of(txn))
        return record


class Grows(HonestValidator):
    """Gives the first miner another piece in each epoch, so that weights change."""

    def before_epoch(self, txn: Transaction, header: EpochHeader) -> None:
        self.commit(txn, list(self.miners.values())[: 1 + header.epoch % 2])


class TestHostile:
    async def test_a_log_of_more_records_than_anybody_reads_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hippy.validator.verifying.published.LOG_RECORDS_MAX", 3)
        async with reading(tmp_path, await honest()) as read:
            with pytest.raises(TooLargeError, match="has 4 records, more than 3"):
                await read.verify()

    async def test_a_log_of_more_bytes_than_anybody_reads_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hippy.validator.verifying.published.LOG_BYTES_MAX", 1_000)
        async with reading(tmp_path, await honest()) as read:
            with pytest.raises(TooLargeError, match="has more than 1000 bytes at record 0"):
                await read.verify()

    async def test_reading_what_was_asked_before_ends_at_its_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hippy.validator.verifying.before.BYTES_MAX", 10)
        async with reading(tmp_path, await honest()) as read:
            await read.weigh(read.server.record, 13)
            result = await read.verify(epochs_max=1)
        assert (result.difference, result.order_epochs) == (None, 1)
        assert [str(remark) for remark in result.remarks] == [
            "what was owed from before epoch 12 was not checked: it takes too long"
        ]

    async def test_a_log_that_gives_no_more_is_an_error(self, tmp_path: Path) -> None:
        record = await honest()
        async with reading(tmp_path, record) as read:
            nothing = LogPage(home=HOME.hotkey, entries=())
            read.server.answers["/v1/log"] = nothing.encode()
            with pytest.raises(ProtocolError, match="gave 0 records of its log, which has at least 4"):
                await read.verify()

    async def test_a_log_that_repeats_itself_is_an_error(self, tmp_path: Path) -> None:
        record = await honest()
        (page,) = record.pages
        record.pages = [page.model_copy(update={"entries": page.entries[:2], "head": None})]
        async with reading(tmp_path, record) as read:
            read.server.answers["/v1/log?after=2"] = record.pages[0].encode()
            with pytest.raises(ProtocolError, match="gave other records of its log than those behind record 2"):
                await read.verify()

    async def test_evidence_that_does_not_go_on_is_an_error(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            read.server.answers["/v1/epochs/11/evidence?after=6"] = b""
            with pytest.raises(ProtocolError, match="gave the evidence of 7 of the 12 entries of epoch 11 and no more"):
                await read.verify()

    async def test_more_evidence_than_entries_is_an_error(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            read.server.answers["/v1/epochs/11/evidence"] = u32(0) * 13
            with pytest.raises(ProtocolError, match="more items than the transcript has entries"):
                await read.verify()

    @pytest.mark.parametrize("kind", ["header", "sheet"])
    async def test_messages_above_their_limit_are_refused_before_they_are_read(self, tmp_path: Path, kind: str) -> None:
        async with reading(tmp_path, await honest()) as read:
            read.server.answers[f"/v1/epochs/13/{kind}"] = bytes(SHEET_BYTES_MAX + 1)
            with pytest.raises(TooLargeError, match="the answer has 2097153 bytes, the limit is"):
                await read.verify()

    async def test_epochs_that_end_before_they_begin_are_an_error(self, tmp_path: Path) -> None:
        async with reading(tmp_path, await honest()) as read:
            read.server.answers["/v1/epochs"] = Epochs(first=9, last=3).encode()
            with pytest.raises(ProtocolError, match="keeps epochs 9 to 3, which is none"):
                await read.verify()

    async def test_the_header_of_another_epoch_is_an_error(self, tmp_path: Path) -> None:
        record = await honest()
        async with reading(tmp_path, record) as read:
            read.server.answers["/v1/epochs/13/header"] = record.headers[12].encode()
            with pytest.raises(ProtocolError, match="gave the header of epoch 12 for that of epoch 13"):
                await read.verify()

    async def test_what_is_not_shown_is_said(self, tmp_path: Path) -> None:
        record = await honest()
        del record.transcripts[12]
        async with reading(tmp_path, record) as read:
            with pytest.raises(NotFoundError, match=r"does not show /v1/epochs/12/transcript: not kept"):
                await read.verify()


class TestEvidencePages:
    def test_items_are_split_at_their_lengths(self) -> None:
        assert split_evidence(u32(2) + b"ab" + u32(0) + u32(1) + b"c", 3) == [b"ab", b"", b"c"]

    @pytest.mark.parametrize(
        "page",
        [u32(3) + b"ab", u32(2)[:3], u32(0) + b"x", u32(EVIDENCE_BYTES_MAX + 1) + bytes(EVIDENCE_BYTES_MAX + 1)],
        ids=["cut item", "cut length", "cut second length", "too long"],
    )
    def test_pages_that_are_cut_or_too_long_are_refused(self, page: bytes) -> None:
        with pytest.raises(ProtocolError, match="a page of evidence"):
            split_evidence(page, 5)
