"""What a validator can do to a client that trusts it with no content: nothing that passes for the truth."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hippy.client.sdk import AsyncClient
from hippy.errors import AuthError, ConflictError, HippyError, IntegrityError, ProtocolError
from hippy.wire.canonical import Message
from hippy.wire.node import Directory
from hippy.wire.object import ListAnswer, ObjectRow, ReadAnswer, WriteAnswer
from hippy.wire.parts import encode_parts, parse_parts
from hippy.wire.segment import SegmentsAnswer, TicketList
from tests.client.network import Alter, Network, lying_validator

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


class Tape:
    """Serves the answer of a route that it recorded first, once told to."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.recorded: bytes | None = None
        self.plays = False

    def __call__(self, path: str, body: bytes) -> bytes:
        if path != self.target:
            return body
        self.recorded = self.recorded or body
        return self.recorded if self.plays else body


async def test_older_row_than_one_seen_is_refused(network: Network) -> None:
    tape = Tape(READ)
    async with lying_validator(network.credentials, tape) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"old", "hippy://lies/back")
        assert await client.get("hippy://lies/back") == b"old"
        await client.put(b"new", "hippy://lies/back")
        tape.plays = True
        with pytest.raises(IntegrityError, match="version 1 of an object whose version 2 was seen"):
            await client.get("hippy://lies/back")


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


async def test_listing_that_never_ends_is_ended(network: Network) -> None:
    def same_page(body: bytes) -> bytes:
        return ListAnswer.parse(body).model_copy(update={"after": (b"a" * 32,)}).encode()

    async with talking_through(network, on(LIST, same_page)) as client:
        with pytest.raises(ProtocolError, match="does not move on"):
            await client.list("hippy://lies")


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


async def test_somebody_else_at_the_validators_address_is_not_talked_to(network: Network) -> None:
    def wrong(body: bytes) -> bytes:
        return body.replace(b'"time":1', b'"time":2')

    async with lying_validator(network.credentials, on("/v1/hello", wrong)) as credentials:
        with pytest.raises(HippyError):
            async with AsyncClient.open(credentials):
                pass
