"""What a validator can do to a client that trusts it with no content: nothing that passes for the truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hippy.client.sdk import AsyncClient
from hippy.client.seen import SeenRow
from hippy.errors import (
    AuthError,
    ConflictError,
    HippyError,
    IntegrityError,
    NotFoundError,
    ProtocolError,
    TemporaryError,
)
from hippy.identity import Identity
from hippy.ids import MessageId
from hippy.wire.canonical import Message
from hippy.wire.node import Directory
from hippy.wire.object import ListAnswer, ObjectRow, ReadAnswer, WriteAnswer
from hippy.wire.parts import encode_parts, parse_parts
from hippy.wire.segment import SegmentsAnswer, TicketList
from hippy.wire.ticket import Ticket, tickets_root
from tests.client.network import CLOCK, NETWORK, Alter, Network, lying_validator, seed
from tests.client.tape import Tape

DATA = random.Random(5).randbytes(50_000)
READ, LIST, RECORDS = "/v1/objects/read", "/v1/objects/list", "/v1/segments"


@asynccontextmanager
async def talking_through(network: Network, alter: Alter) -> AsyncIterator[AsyncClient]:
    """A client whose validator's answers are altered."""
    async with lying_validator(network.credentials, alter) as credentials, AsyncClient.open(credentials) as client:
        yield client


def on(target: str, change: Callable[[bytes], bytes]) -> Alter:
    """Alter the answers of one route."""
    return lambda path, body: change(body) if path == target else body


def row(change: Callable[[ObjectRow], ObjectRow | None]) -> Alter:
    """Alter the row of a read, and keep what is announced right."""

    def altered(body: bytes) -> bytes:
        answer, blobs = parse_parts(ReadAnswer, body)
        results = tuple(
            found.model_copy(update={"row": change(found.row)}) if found.row is not None else found
            for found in answer.results
        )
        kept = blobs if all(found.row is not None for found in results) else []
        return encode_parts(answer.model_copy(update={"results": results}), kept)

    return on(READ, altered)


def updated(**changes: object) -> Callable[[ObjectRow], ObjectRow]:
    return lambda row: row.model_copy(update=changes)


def records(change: Callable[[SegmentsAnswer], SegmentsAnswer]) -> Alter:
    return on(RECORDS, lambda body: change(SegmentsAnswer.parse(body)).encode())


def record_with(**changes: object) -> Callable[[SegmentsAnswer], SegmentsAnswer]:
    def change(answer: SegmentsAnswer) -> SegmentsAnswer:
        return answer.model_copy(
            update={"segments": tuple(record.model_copy(update=changes) for record in answer.segments)}
        )

    return change


def spec_with(**changes: object) -> Callable[[SegmentsAnswer], SegmentsAnswer]:
    return lambda answer: record_with(spec=answer.segments[0].spec.model_copy(update=changes))(answer)


def without_records(answer: SegmentsAnswer) -> SegmentsAnswer:
    return answer.model_copy(update={"segments": ()})


def with_doubled_holdings(answer: SegmentsAnswer) -> SegmentsAnswer:
    return record_with(holdings=answer.segments[0].holdings * 2)(answer)


def with_changed_root(answer: SegmentsAnswer) -> SegmentsAnswer:
    return spec_with(roots=(b"r" * 32, *answer.segments[0].spec.roots[1:]))(answer)


LIES = {
    "row of another time": row(updated(time=1)),
    "row of another version": row(updated(version=9)),
    "row of another object": row(updated(name=(b"x" * 32,))),
    "row with another head": row(updated(head=b"h" * 48)),
    "row with another manifest hash": row(updated(manifest_hash=b"h" * 32)),
    "row naming no segments": row(updated(segment_ids=())),
    "row by another account": row(updated(account=b"a" * 32)),
    "forged signature": row(updated(signature=b"s" * 64)),
    "manifest with a flipped bit": on(READ, lambda body: body[:-1] + bytes([body[-1] ^ 1])),
    "record left out": records(without_records),
    "record with another root": records(with_changed_root),
    "record with another length": records(spec_with(data_length=49_999)),
    "record of another account": records(record_with(account=b"a" * 32)),
    "record with doubled holdings": records(with_doubled_holdings),
}


@pytest.mark.parametrize("alter", LIES.values(), ids=LIES.keys())
async def test_lie_about_an_object_is_caught(network: Network, alter: Alter) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(DATA, "hippy://lies/x")
    async with lying_validator(network.credentials, alter) as credentials, AsyncClient.open(credentials) as client:
        with pytest.raises(IntegrityError) as caught:
            await client.get("hippy://lies/x")
        assert caught.value.exit_code == 6


async def test_unaltered_answers_pass_the_same_way(network: Network) -> None:
    async with talking_through(network, lambda _, body: body) as client:
        await client.put(DATA, "hippy://lies/true")
        assert await client.get("hippy://lies/true") == DATA


def without_current(body: bytes) -> bytes:
    """The answer to a write that lost races, too many to say which rows were first."""
    answer = WriteAnswer.parse(body)
    results = tuple(result.model_copy(update={"current": None}) for result in answer.results)
    return answer.model_copy(update={"results": results}).encode()


async def test_lost_race_is_run_again_even_when_the_answer_does_not_say_who_was_first(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"first", "hippy://lies/race")
    async with talking_through(network, on("/v1/objects", without_current)) as client:
        with pytest.raises(ConflictError):
            await client.put(b"second", "hippy://lies/race", if_absent=True)
    async with talking_through(network, on("/v1/objects", without_current)) as client:
        await client.put(b"second", "hippy://lies/race")
        assert await client.get("hippy://lies/race") == b"second"


async def test_older_row_than_one_seen_is_refused(network: Network) -> None:
    tape = Tape(READ)
    async with lying_validator(network.credentials, tape) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"old", "hippy://lies/back")
        assert await client.get("hippy://lies/back") == b"old"
        await client.put(b"new", "hippy://lies/back")
        tape.plays = True
        with pytest.raises(IntegrityError, match="version 1 of an object whose version 2 was seen"):
            await client.get("hippy://lies/back")


class Meanwhile:
    """Passes on an answer of a route after somebody else, or another call, has told of a newer row."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.happens: Callable[[], None] | None = None
        self.has_happened = False

    def __call__(self, path: str, body: bytes) -> bytes:
        if path == self.target and self.happens is not None and not self.has_happened:
            self.has_happened = True
            self.happens()
        return body


def newer_row_is_seen(client: AsyncClient, uri: str, version: int) -> Callable[[], None]:
    def happens() -> None:
        place, _ = client._object(uri)
        seen = client._session.seen
        seen.note(place, SeenRow(version, MessageId(b"r" * 32)), seen.known())

    return happens


async def test_answer_on_its_way_while_a_newer_row_comes_is_no_lie(network: Network) -> None:
    uri = "hippy://meanwhile/x"
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"old", uri)
    calls: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
        READ: lambda client: client.get(uri),
        LIST: lambda client: client.list("hippy://meanwhile/"),
        "/v1/objects": lambda client: client.put(b"new", uri),
    }
    for target, call in calls.items():
        meanwhile = Meanwhile(target)
        async with talking_through(network, meanwhile) as client:
            await client.get(uri)
            meanwhile.happens = newer_row_is_seen(client, uri, 50)
            await call(client)
            assert meanwhile.has_happened
            with pytest.raises(IntegrityError, match="version 50 was seen"):
                await client.get(uri)  # asked for after the newer one was known


async def test_object_that_was_not_there_yet_is_not_missed_when_it_comes_meanwhile(network: Network) -> None:
    meanwhile = Meanwhile(READ)
    async with talking_through(network, meanwhile) as client:
        meanwhile.happens = newer_row_is_seen(client, "hippy://meanwhile/none", 1)
        with pytest.raises(NotFoundError):
            await client.get("hippy://meanwhile/none")


async def test_record_that_is_withheld_costs_only_the_files_that_need_it(network: Network, tmp_path: Path) -> None:
    big = [random.Random(seed).randbytes(1_100_000) for seed in range(3)]
    async with AsyncClient.open(network.credentials) as client:
        for number, data in enumerate(big):
            await client.put(data, f"hippy://withheld/{number}")
        await client.put(b"inline", "hippy://withheld/inline")
    for number, change in enumerate((without_first_record, with_first_record_of_another_account)):
        root = tmp_path / str(number)
        async with talking_through(network, records(change)) as client:
            result = await client.get_dir("hippy://withheld", root)
        ((failed, error),) = [(failure.path, failure.error) for failure in result.failures]
        assert isinstance(error, IntegrityError)
        assert result.files == 3
        assert (root / "inline").read_bytes() == b"inline"
        for each in {"0", "1", "2"} - {failed}:
            assert (root / each).read_bytes() == big[int(each)]


async def test_segment_whose_pieces_are_all_lost_costs_only_the_files_that_need_it(
    network: Network, tmp_path: Path
) -> None:
    big = [random.Random(seed).randbytes(1_100_000) for seed in range(2)]
    async with AsyncClient.open(network.credentials) as client:
        for number, data in enumerate(big):
            await client.put(data, f"hippy://lost/{number}")
    async with talking_through(network, records(with_first_segment_lost)) as client:
        result = await client.get_dir("hippy://lost", tmp_path)
    ((failed, error),) = [(failure.path, failure.error) for failure in result.failures]
    assert isinstance(error, TemporaryError)
    assert "only 0 of the k=4 pieces" in error.message
    (other,) = {"0", "1"} - {failed}
    assert (tmp_path / other).read_bytes() == big[int(other)]


def with_first_segment_lost(answer: SegmentsAnswer) -> SegmentsAnswer:
    lost = answer.segments[0].model_copy(update={"holdings": ()})
    return answer.model_copy(update={"segments": (lost, *answer.segments[1:])})


def without_first_record(answer: SegmentsAnswer) -> SegmentsAnswer:
    return answer.model_copy(update={"segments": answer.segments[1:]})


def with_first_record_of_another_account(answer: SegmentsAnswer) -> SegmentsAnswer:
    other = answer.segments[0].model_copy(update={"account": b"a" * 32})
    return answer.model_copy(update={"segments": (other, *answer.segments[1:])})


async def test_object_that_vanishes_is_not_just_absent(network: Network) -> None:
    async with talking_through(network, vanish := Switch(row(lambda _: None))) as client:
        await client.put(b"here", "hippy://lies/gone")
        vanish.on = True
        with pytest.raises(IntegrityError, match="no longer serves"):
            await client.get("hippy://lies/gone")


class Switch:
    """Begins to lie when told."""

    def __init__(self, alter: Alter) -> None:
        self.alter = alter
        self.on = False

    def __call__(self, path: str, body: bytes) -> bytes:
        return self.alter(path, body) if self.on else body


def listed(change: Callable[[ObjectRow], ObjectRow]) -> Alter:
    def altered(body: bytes) -> bytes:
        answer = ListAnswer.parse(body, limit=len(body))
        return answer.model_copy(update={"rows": tuple(change(each) for each in answer.rows)}).encode()

    return on(LIST, altered)


@pytest.mark.parametrize(
    "alter", [listed(updated(time=1)), listed(updated(head=b"h" * 48)), listed(updated(bucket=b"b" * 32))]
)
async def test_altered_listing_is_caught(network: Network, alter: Alter) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(DATA, "hippy://lies/x")
    async with lying_validator(network.credentials, alter) as credentials, AsyncClient.open(credentials) as client:
        with pytest.raises(IntegrityError):
            await client.list("hippy://lies", recursive=True)


def page(change: Callable[[ListAnswer], dict[str, object]]) -> Alter:
    """Alter every page of a listing."""

    def altered(body: bytes) -> bytes:
        answer = ListAnswer.parse(body, limit=len(body))
        return answer.model_copy(update=change(answer)).encode()

    return on(LIST, altered)


BAD_PAGES = {
    "a row twice": page(lambda answer: {"rows": answer.rows[:1] * 2}),
    "rows in another order": page(lambda answer: {"rows": answer.rows[::-1]}),
    "on from somewhere else": page(lambda answer: {"after": (b"a" * 32,)}),
    "on before its last": page(lambda answer: {"after": answer.rows[0].name}),
    "an empty page and on": page(lambda _: {"rows": (), "prefixes": (), "after": (b"a" * 32,)}),
    "folders where there are none": page(lambda _: {"rows": (), "prefixes": (b"a" * 32,), "after": (b"a" * 32,)}),
}


@pytest.mark.parametrize("alter", BAD_PAGES.values(), ids=BAD_PAGES.keys())
async def test_listing_that_does_not_move_on_in_order_is_ended(network: Network, alter: Alter) -> None:
    async with AsyncClient.open(network.credentials) as client:
        for name in ("a", "b", "c"):
            await client.put(b"x", f"hippy://pages/{name}")
    async with talking_through(network, alter) as client:
        with pytest.raises(ProtocolError, match=r"out of order|does not move on|folded"):
            await asyncio.wait_for(client.list("hippy://pages", recursive=True), 5)


async def test_listing_that_serves_one_page_for_ever_is_ended(network: Network) -> None:
    tape = Tape(LIST)
    alter = page(lambda answer: {"after": answer.rows[-1].name})
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"x", "hippy://ever/x")
    async with talking_through(network, lambda path, body: alter(path, tape(path, body))) as client:
        tape.plays = True
        with pytest.raises(ProtocolError, match="out of order"):
            await asyncio.wait_for(client.list("hippy://ever", recursive=True), 5)


async def test_folders_twice_or_in_another_order_are_refused(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        for name in ("a/x", "b/x"):
            await client.put(b"x", f"hippy://folders/{name}")
    for alter in (
        page(lambda answer: {"prefixes": answer.prefixes[::-1]}),
        page(lambda answer: {"prefixes": answer.prefixes[:1] * 2}),
    ):
        async with talking_through(network, alter) as client:
            with pytest.raises(ProtocolError, match="out of order"):
                await asyncio.wait_for(client.list("hippy://folders"), 5)


async def test_honest_pages_of_any_length_are_in_order(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "a/x", "a/y/z", "b/x", "c", "d/e/f", "d/e/g"]
    async with AsyncClient.open(network.credentials) as client:
        for name in names:
            await client.put(b"x", f"hippy://short/{name}")
        for limit in (1, 2, 3):
            monkeypatch.setattr("hippy.client.validator_api.LIST_MAX", limit)
            assert [entry.path for entry in await client.list("hippy://short", recursive=True)] == names
            found = [(entry.path, entry.is_dir) for entry in await client.list("hippy://short")]
            assert found == [("a", False), ("a", True), ("b", True), ("c", False), ("d", True)]
            assert [entry.path for entry in await client.list("hippy://short/d", recursive=True)] == names[-2:]


def parsed(target: str, kind: type[Message], change: Callable[[Message], Message]) -> Alter:
    return on(target, lambda body: change(kind.parse(body, limit=len(body))).encode())


def first_ticket(**changes: object) -> Alter:
    def change(answer: Message) -> Message:
        assert isinstance(answer, TicketList)
        first = answer.tickets[0].model_copy(update=changes)
        return answer.model_copy(update={"tickets": (first, *answer.tickets[1:])})

    return parsed("/v1/allocate", TicketList, change)


BAD_TICKETS = {
    "another miner than granted": first_ticket(miner=b"m" * 32),
    "another root": first_ticket(root=b"r" * 32),
    "another account": first_ticket(account=b"a" * 32),
    "another index": first_ticket(index=3),
    "one ticket too few": parsed(
        "/v1/allocate",
        TicketList,
        lambda answer: answer.model_copy(update={"tickets": answer.tickets[1:]}),  # type: ignore[attr-defined]
    ),
    "altered directory": parsed("/v1/miners", Directory, lambda answer: answer.model_copy(update={"time": 1})),
}


@pytest.mark.parametrize("alter", BAD_TICKETS.values(), ids=BAD_TICKETS.keys())
async def test_tickets_and_directories_that_are_not_granted_are_refused(network: Network, alter: Alter) -> None:
    async with lying_validator(network.credentials, alter) as credentials, AsyncClient.open(credentials) as client:
        with pytest.raises((AuthError, ProtocolError, IntegrityError)):
            await client.put(DATA, "hippy://lies/tickets")


def granted(target: str, change: Callable[[TicketList], tuple[Ticket, ...]]) -> Alter:
    """Give out other tickets, under a grant that covers them."""
    validator = Identity.from_seed(seed("validator"))

    def altered(body: bytes) -> bytes:
        answer = TicketList.parse(body, limit=len(body))
        given = change(answer)
        if not given:
            return body
        grant = answer.grant.model_copy(update={"tickets_root": tickets_root(given, NETWORK)})
        return TicketList(tickets=given, grant=grant.signed(validator, NETWORK)).encode()

    return on(target, altered)


def all_with(answer: TicketList, **changes: object) -> tuple[Ticket, ...]:
    return tuple(ticket.model_copy(update=changes) for ticket in answer.tickets)


OTHER_TERMS = {
    "an end": granted("/v1/allocate", lambda answer: all_with(answer, keep_until=int(CLOCK.now()) + 30)),
    "another hurry": granted("/v1/allocate", lambda answer: all_with(answer, upload_by=int(CLOCK.now()) + 30)),
}


@pytest.mark.parametrize("alter", OTHER_TERMS.values(), ids=OTHER_TERMS.keys())
async def test_granted_tickets_on_other_terms_than_asked_for_are_refused(network: Network, alter: Alter) -> None:
    async with talking_through(network, alter) as client:
        with pytest.raises(ProtocolError, match="another time"):
            await client.put(DATA, "hippy://lies/terms")


async def test_piece_that_moves_to_a_miner_that_has_another_is_refused(network: Network) -> None:
    allocated: list[Ticket] = []

    def remember(answer: TicketList) -> tuple[Ticket, ...]:
        allocated[:] = answer.tickets
        return ()

    def double(answer: TicketList) -> tuple[Ticket, ...]:
        there = next(ticket for ticket in allocated if ticket.index != answer.tickets[0].index)
        return all_with(answer, miner=there.miner, endpoint=there.endpoint)

    for miner in network.miners[:2]:
        miner.refuses = True  # at least one of them is asked
    first, then = granted("/v1/allocate", remember), granted("/v1/reallocate", double)
    async with talking_through(network, lambda path, body: then(path, first(path, body))) as client:
        with pytest.raises(IntegrityError, match="two pieces of a segment with one miner"):
            await client.put(DATA, "hippy://lies/double")


async def test_somebody_else_at_the_validators_address_is_not_talked_to(network: Network) -> None:
    def wrong(body: bytes) -> bytes:
        return body.replace(b'"time":1', b'"time":2')

    async with lying_validator(network.credentials, on("/v1/hello", wrong)) as credentials:
        with pytest.raises(HippyError):
            async with AsyncClient.open(credentials):
                pass
