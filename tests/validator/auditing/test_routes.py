"""What anyone can read of audits, over real HTTP: bounded, of ended epochs only; and who may report what lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import product
from pathlib import Path
from typing import TypeVar

import pytest

from hippy.errors import AuthError, HippyError, NotFoundError, ProtocolError, RateLimitedError, TooLargeError
from hippy.identity import Identity
from hippy.ids import PublicKey, Root
from hippy.kv import Reader
from hippy.proofs.evidence import parse_evidence
from hippy.transport.client import Call, open_http
from hippy.validator.auditing.routes import LONG_ANSWERS_MAX, LONG_ANSWERS_WAITING_MAX, REPORT_PAUSE_SECONDS
from hippy.validator.commit import record_segments
from hippy.validator.holdings import holdings_of
from hippy.validator.verifying.published import split_evidence
from hippy.wire.audit import LostAnswer, LostReport
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.log import LogPage
from tests.validator.auditing.fakes import until
from tests.validator.auditing.world import TEMPO, MinerNode, Validator, World
from tests.validator.world import ACCOUNT, HOME, STRANGER, unsigned_segment

T = TypeVar("T")


@pytest.fixture
async def validator(world: World) -> AsyncIterator[Validator]:
    """In epoch 2; epochs 0 and 1 have ended."""
    await world.clock.advance(TEMPO - 3)
    async with world.auditing() as validator:
        await world.pass_until(2)
        yield validator


class TestReading:
    async def test_an_epoch_is_shown_once_it_has_ended_and_its_header_before(self, validator: Validator) -> None:
        assert (await validator.header(2)).epoch == 2
        for what in ("transcript", "sheet", "evidence"):
            await validator.get(f"/v1/epochs/1/{what}")
            with pytest.raises(NotFoundError):
                await validator.get(f"/v1/epochs/2/{what}")

    async def test_an_epoch_that_is_not_kept_is_not_found(self, validator: Validator) -> None:
        for epoch, what in product((3, 2**32, 9_999_999_999_999_999), ("header", "transcript", "sheet", "evidence")):
            with pytest.raises(NotFoundError):
                await validator.get(f"/v1/epochs/{epoch}/{what}")

    async def test_what_is_no_number_is_no_epoch(self, validator: Validator) -> None:
        for epoch in ("-1", "01", "1.0", "x", "1e3", "%31%00", "12345678901234567", "%D9%A3"):
            with pytest.raises(ProtocolError):
                await validator.get(f"/v1/epochs/{epoch}/header")

    async def test_any_other_parameter_is_refused(self, validator: Validator) -> None:
        queries = ("after=", "after=-1", "after=x", "after=1&after=2", "before=1", "after=1&x=", "x")
        for path, query in product(("/v1/log", "/v1/epochs/1/evidence"), queries):
            with pytest.raises(ProtocolError):
                await validator.get(f"{path}?{query}")

    async def test_behind_the_last_item_of_evidence_there_is_nothing(self, validator: Validator) -> None:
        for after in (7, 65_536, 2**32, 9_999_999_999_999_999):
            assert await validator.get(f"/v1/epochs/1/evidence?after={after}") == b""

    async def test_evidence_comes_in_the_order_of_the_transcript(self, validator: Validator) -> None:
        entries = (await validator.transcript(1)).entries
        items = split_evidence(await validator.get("/v1/epochs/1/evidence"), len(entries))
        assert [parse_evidence(item).request_hash for item in items] == [entry.request_hash for entry in entries]
        rest = await validator.get("/v1/epochs/1/evidence?after=2")
        assert split_evidence(rest, len(entries)) == items[3:]

    async def test_the_log_goes_on_behind_a_record_and_ends_with_its_head(self, validator: Validator) -> None:
        page = LogPage.parse(await validator.get("/v1/log?after=5"), limit=2**23)
        assert [entry.record.seq for entry in page.entries] == [6, 7, 8]
        assert page.head is not None
        assert page.head.seq == 8
        end = LogPage.parse(await validator.get("/v1/log?after=9999999999999999"), limit=2**23)
        assert end.entries == ()

    async def test_before_the_first_header_no_epoch_is_kept(self, world: World) -> None:
        world.database.failures = 1  # the first header is not stored yet
        async with world.auditing() as validator:
            with pytest.raises(NotFoundError):
                await validator.get("/v1/epochs")
            await world.pass_time(2)
            assert (await validator.epochs()).last == 0


class TestMinerReports:
    async def test_a_miner_is_told_its_score_its_past_and_for_whom_it_holds(
        self, world: World, validator: Validator
    ) -> None:
        miner = world.miners[0]
        report = await validator.report(miner)
        assert (report.validator, report.hotkey, report.epoch) == (HOME.hotkey, miner.hotkey, 1)
        assert report.score == await validator.score(1, miner)
        assert (report.state, report.share_ppm, report.owed_batches) == ("live", 500_000, 0)
        assert [past.epoch for past in report.history] == [1, 0]
        assert [(share.account, share.bytes) for share in report.accounts] == [(ACCOUNT.public_key, 8_000)]
        assert [factor.name for factor in report.factors] == ["bytes", "proofs", "uptime", "reads", "speed", "age"]

    async def test_of_a_stranger_there_is_nothing_to_tell(self, validator: Validator) -> None:
        stranger = MinerNode(STRANGER, validator.world.miners[0].store, Path())
        report = await validator.report(stranger)
        assert (report.state, report.score, report.history, report.factors) == ("unregistered", None, (), ())

    async def test_what_is_no_hotkey_is_refused(self, validator: Validator) -> None:
        for hotkey in ("", "ab", "x" * 64, "AB" * 32, "5" * 48):
            with pytest.raises(ProtocolError):
                await validator.get(f"/v1/miners/{hotkey}")


class TestLost:
    async def send(self, validator: Validator, sender: Identity, body: bytes) -> LostAnswer:
        async with open_http(sender, validator.world.clock) as http:
            return await http.message(validator.peer, Call("POST", "/v1/lost", body), LostAnswer)

    def told(
        self,
        world: World,
        miner: Identity,
        *roots: Root,
        validator: PublicKey = HOME.hotkey,
        by: Identity | None = None,
    ) -> bytes:
        unsigned = LostReport(miner=miner.public_key, validator=validator, roots=roots, time=int(world.clock.now()))
        return unsigned.signed(by or miner, HOME.network).encode()

    async def test_what_a_miner_reports_it_holds_no_more(self, world: World, validator: Validator) -> None:
        miner = world.miners[0]
        assert await validator.lost(miner, *miner.roots[:3]) == 3
        (loss,) = await world.losses()
        assert (loss.miner, loss.reason, loss.round) == (miner.hotkey, "reported", await world.chain.beacon_round())
        assert {piece.root for piece in loss.pieces} == set(miner.roots[:3])

    async def test_a_report_that_is_sent_again_records_nothing(self, world: World, validator: Validator) -> None:
        miner = world.miners[0]
        body = self.told(world, miner.identity, miner.roots[0])
        async with open_http(miner.identity, world.clock) as http:
            call = Call("POST", "/v1/lost", body)
            first = await http.message(validator.peer, call, LostAnswer)
            with pytest.raises(RateLimitedError):
                await http.bytes(validator.peer, call)
            await world.clock.advance(REPORT_PAUSE_SECONDS)
            again = await http.message(validator.peer, call, LostAnswer)
        assert (first.recorded, again.recorded) == (1, 0)
        assert len(await world.losses()) == 1

    async def test_a_report_that_is_sent_again_does_not_end_what_was_given_since(
        self, world: World, validator: Validator
    ) -> None:
        miner = world.miners[0]
        root = miner.roots[0]
        body = self.told(world, miner.identity, root)
        assert (await self.send(validator, miner.identity, body)).recorded == 1
        again = unsigned_segment(900, {0: miner.hotkey}, [root, Root(b"x" * 32)])
        await world.database.transact(lambda txn: record_segments(txn, HOME, [again], int(world.clock.now())))
        await world.clock.advance(REPORT_PAUSE_SECONDS)
        assert (await self.send(validator, miner.identity, body)).recorded == 0
        assert len(await world.database.read(lambda reader: holdings_of(reader, miner.hotkey, root))) == 1
        await world.clock.advance(1)
        assert await validator.lost(miner, root) == 1, "a new report is another matter"

    async def test_the_very_same_request_is_refused_the_second_time(self, world: World, validator: Validator) -> None:
        miner = world.miners[0]
        body = self.told(world, miner.identity, miner.roots[0])
        async with open_http(miner.identity, world.clock) as http, open_http(None, world.clock) as replayer:
            signed = http._signature(validator.peer, Call("POST", "/v1/lost", body))
            call = Call("POST", "/v1/lost", body, headers=signed)
            assert (await replayer.message(validator.peer, call, LostAnswer)).recorded == 1
            with pytest.raises(AuthError):
                await replayer.bytes(validator.peer, call)

    async def test_pieces_of_others_are_not_touched(self, world: World, validator: Validator) -> None:
        miner, other = world.miners
        assert await validator.lost(miner, other.roots[0], Root(b"?" * 32), miner.roots[1]) == 1
        assert await validator.lost(other, other.roots[0]) == 1

    async def test_nobody_reports_for_another(self, world: World, validator: Validator) -> None:
        miner, other = world.miners
        for body in (
            self.told(world, miner.identity, miner.roots[0]),
            self.told(world, miner.identity, miner.roots[0], by=other.identity),
        ):
            with pytest.raises(AuthError):
                await self.send(validator, other.identity, body)
        forged = self.told(world, miner.identity, miner.roots[0], by=other.identity)
        with pytest.raises(AuthError):
            await self.send(validator, miner.identity, forged)
        assert await world.losses() == []

    async def test_strangers_and_the_nameless_report_nothing(self, world: World, validator: Validator) -> None:
        with pytest.raises(AuthError):
            await self.send(validator, STRANGER, self.told(world, STRANGER, world.miners[0].roots[0]))
        body = self.told(world, world.miners[0].identity, world.miners[0].roots[0])
        with pytest.raises(AuthError):
            await validator.public.bytes(validator.peer, Call("POST", "/v1/lost", body))

    async def test_a_report_to_another_validator_is_refused(self, world: World, validator: Validator) -> None:
        miner = world.miners[0]
        with pytest.raises(AuthError):
            await self.send(
                validator,
                miner.identity,
                self.told(world, miner.identity, miner.roots[0], validator=STRANGER.public_key),
            )

    async def test_any_other_body_is_refused(self, world: World, validator: Validator) -> None:
        bodies: list[tuple[bytes, type[HippyError]]] = [
            (b"", ProtocolError),
            (b"{}", ProtocolError),
            (b"{" * 9_999, ProtocolError),
            (bytes(MESSAGE_BYTES_MAX + 1), TooLargeError),
        ]
        async with open_http(world.miners[0].identity, world.clock) as http:
            for body, error in bodies:
                with pytest.raises(error):
                    await http.bytes(validator.peer, Call("POST", "/v1/lost", body))

    async def test_a_root_named_twice_is_refused(self, world: World, validator: Validator) -> None:
        miner = world.miners[0]
        with pytest.raises(ProtocolError):
            await self.send(validator, miner.identity, self.told(world, miner.identity, miner.roots[0], miner.roots[0]))

    async def test_a_report_is_dated_when_it_is_recorded_and_not_when_it_came(
        self, world: World, validator: Validator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else what is asked in between would have to be void by a report that nobody knew of."""
        miner, came_round = world.miners[0], await world.chain.beacon_round()
        told = asyncio.Event()

        async def slow_round() -> int:
            told.set()
            await until(lambda: validator.auditor.newest_round > came_round)
            return came_round

        with monkeypatch.context() as patched:
            patched.setattr(world.chain.chain, "beacon_round", slow_round)
            reporting = asyncio.create_task(validator.lost(miner, miner.roots[0]))
            await told.wait()
        await world.pass_time(2)
        assert await reporting == 1
        (loss,) = await world.losses()
        assert loss.round is not None
        assert loss.round > came_round


class TestLongAnswers:
    async def test_a_few_are_made_at_once_some_wait_and_the_rest_is_told_to_come_later(
        self, world: World, validator: Validator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate, at_work, most = asyncio.Event(), 0, 0
        honest = world.database.read

        async def slow(work: Callable[[Reader], T]) -> T:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await gate.wait()
            at_work -= 1
            return await honest(work)

        monkeypatch.setattr(world.database, "read", slow)
        async with open_http(None, world.clock) as http:
            http._session.connector._limit_per_host = 0  # type: ignore[union-attr]
            refused = 0

            async def read() -> None:
                nonlocal refused
                try:
                    await http.bytes(validator.peer, Call("GET", "/v1/epochs/1/evidence", answer_bytes_max=2**23))
                except RateLimitedError:
                    refused += 1

            reading = [asyncio.create_task(read()) for _ in range(LONG_ANSWERS_MAX + LONG_ANSWERS_WAITING_MAX + 5)]
            await until(lambda: refused == 5)
            assert at_work == LONG_ANSWERS_MAX
            gate.set()
            await asyncio.gather(*reading)
        assert (refused, most) == (5, LONG_ANSWERS_MAX)
