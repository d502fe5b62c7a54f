"""What hostile peers try on real nodes: each gets its status, nothing is stored, and others are served meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hippy.errors import ProtocolError
from hippy.identity import Identity
from hippy.ids import ZERO_ID
from hippy.proofs.tree import root_of
from hippy.transport.client import Call
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.segment import ALLOCATE_BYTES_MAX
from hippy.wire.ticket import Receipt, TicketProof
from tests.fuzz.hostile import DATA, GOOD, post, signed, untouched
from tests.miner.world import (
    LARGE,
    MINER,
    SMALL,
    VALIDATOR,
    Miner,
    grant,
    identity,
    make_world,
    piece,
    ticket,
)
from tests.transport.streams import line
from tests.validator import network as validators

Change = Callable[[Miner], TicketProof]


def forged(miner: Miner) -> TicketProof:
    return grant(ticket(DATA, miner.world.clock), miner.world.clock, signer=identity("a stranger"))


def altered(miner: Miner) -> TicketProof:
    proof = miner.proof(DATA)
    return proof.model_copy(update={"ticket": proof.ticket.model_copy(update={"pay_class": "canary"})})


def expired(miner: Miner) -> TicketProof:
    return miner.proof(DATA, upload_by=int(miner.world.clock.now()) - 1)


def for_another_miner(miner: Miner) -> TicketProof:
    return miner.proof(DATA, miner=identity("another miner").public_key)


def of_another_account(miner: Miner) -> TicketProof:
    return miner.proof(DATA, account=identity("another account").public_key)


def of_no_validator(miner: Miner) -> TicketProof:
    nobody = identity("no validator")
    return grant(ticket(DATA, miner.world.clock, validator=nobody.public_key), miner.world.clock, signer=nobody)


def of_another_network(miner: Miner) -> TicketProof:
    return miner.proof(DATA, network=b"o" * 32)


async def refused(miner: Miner, proof: TicketProof, data: bytes = DATA) -> tuple[int, str]:
    answer = await miner.put(proof, data)
    error = answer.error()
    assert error is not None
    return answer.status, error.code


async def _check(tmp_path: Path, change: Change, status: int, code: str) -> None:
    async with untouched(tmp_path) as miner:
        assert await refused(miner, change(miner)) == (status, code)


async def test_a_forged_ticket_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, forged, 401, "auth")


async def test_an_altered_ticket_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, altered, 401, "auth")


async def test_an_expired_ticket_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, expired, 401, "auth")


async def test_a_ticket_for_another_miner_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, for_another_miner, 401, "auth")


async def test_a_ticket_of_another_account_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, of_another_account, 401, "auth")


async def test_a_ticket_by_one_without_a_permit_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, of_no_validator, 401, "auth")


async def test_a_ticket_of_another_network_is_401_and_nothing_is_stored(tmp_path: Path) -> None:
    await _check(tmp_path, of_another_network, 401, "auth")


async def test_a_body_longer_than_its_ticket_is_400_and_nothing_is_stored(tmp_path: Path) -> None:
    async with untouched(tmp_path) as miner:
        assert await refused(miner, miner.proof(DATA), DATA + b"x") == (400, "protocol")
        large = piece("large", LARGE)
        assert await refused(miner, miner.proof(large), large + b"x") == (400, "protocol")


async def test_a_body_of_unknown_length_longer_than_its_ticket_is_400_and_nothing_is_stored(tmp_path: Path) -> None:
    async with untouched(tmp_path) as miner:
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(DATA) + 1, DATA + b"x")
        answer = await miner.raw_put(miner.proof(DATA), {"Transfer-Encoding": "chunked"}, sent)
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_with_another_root_is_422_and_nothing_is_stored(tmp_path: Path) -> None:
    async with untouched(tmp_path) as miner:
        assert await refused(miner, miner.proof(DATA), piece("other", SMALL)) == (422, "integrity")


async def test_a_ticket_by_the_all_zero_key_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    """sr25519 verifies any message by the all-zero key."""
    async with untouched(tmp_path) as miner:
        told = miner.proof(DATA).encode().replace(VALIDATOR.public_key.hex().encode(), ZERO_ID.hex().encode())
        target = f"/v1/pieces/{root_of(DATA).hex()}"
        call = Call("PUT", target, DATA, {"X-Hippy-Ticket": told.decode()}, body_signed=False)
        answer = await miner.http.request(miner.peer, call)
        assert (answer.status, type(answer.error())) == (400, ProtocolError)


@pytest.fixture
async def validator(tmp_path: Path) -> AsyncIterator[validators.Client]:
    """A real validator without miners; whoever it serves is served when the test is over."""
    async with validators.local_network(tmp_path, miners=0) as network, network.validator() as client:
        before = await client.status()
        yield client
        assert await client.status() == before


async def posted(client: validators.Client, path: str, body: bytes) -> tuple[int, str]:
    answer = await client.http.request(client.validator, Call("POST", path, body))
    error = answer.error()
    assert error is not None
    return answer.status, error.code


async def _check_json(client: validators.Client, *bodies: bytes) -> None:
    await client.send("/v1/buckets", GOOD)
    for body in bodies:
        assert await posted(client, "/v1/buckets", body) == (400, "protocol"), body[:80]


async def test_json_in_another_spelling_is_400(validator: validators.Client) -> None:
    await _check_json(
        validator, GOOD + b"\n", b" " + GOOD, GOOD.replace(b":", b": "), GOOD.upper(), GOOD.replace(b"a", b"\\u0061", 1)
    )


async def test_json_with_a_doubled_key_is_400(validator: validators.Client) -> None:
    await _check_json(validator, GOOD[:-1] + b"," + GOOD[1:], b'{"account":"",' + GOOD[1:])


async def test_deep_json_is_400(validator: validators.Client) -> None:
    for nest in (b"[" * 900, b"[" * 60_000, b'{"account":' * 5_000, b"[" * 30_000 + b"]" * 30_000):
        await _check_json(validator, nest, GOOD[:-1] + b',"x":' + nest[: MESSAGE_BYTES_MAX - 200] + b"}")


async def test_dense_and_huge_json_is_refused(validator: validators.Client) -> None:
    await _check_json(validator, b"[" + b"{}," * 20_000 + b"{}]", b'{"account":' + b"9" * 60_000 + b"}")
    assert await posted(validator, "/v1/buckets", GOOD + b" " * MESSAGE_BYTES_MAX) == (413, "too_large")
    dense = b'{"segments":[' + b"{}," * (ALLOCATE_BYTES_MAX // 3 - 10) + b"{}]}"
    assert await posted(validator, "/v1/allocate", dense) == (400, "protocol")
    assert await posted(validator, "/v1/allocate", dense + bytes(100)) == (413, "too_large")


async def test_the_all_zero_key_is_nobody(validator: validators.Client) -> None:
    await _check_json(validator, GOOD.replace(validators.ACCOUNT.public_key.hex().encode(), ZERO_ID.hex().encode()))
    sent = signed("/v1/buckets", GOOD)
    sent[next(key for key in sent if key.endswith("Hotkey"))] = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
    async with line(validator.validator.endpoint) as stranger:
        stranger.say(post("/v1/buckets", GOOD, sent))
        assert await stranger.code() == (401, "auth")


async def test_a_request_that_is_sent_again_is_401(validator: validators.Client) -> None:
    sent = post("/v1/buckets", GOOD, signed("/v1/buckets", GOOD))
    async with line(validator.validator.endpoint) as replayer:
        replayer.say(sent)
        assert (await replayer.hear())[0] == 200
        replayer.say(sent)
        assert await replayer.code() == (401, "auth")
    async with line(validator.validator.endpoint) as replayer:
        replayer.say(sent)
        assert await replayer.code() == (401, "auth")


async def test_a_signature_over_another_request_is_401(validator: validators.Client) -> None:
    for target, body in (("/v1/objects/list", GOOD), ("/v1/buckets?x=1", GOOD), ("/v1/buckets", GOOD + b" ")):
        async with line(validator.validator.endpoint) as stranger:
            stranger.say(post(target, body, signed("/v1/buckets", GOOD)))
            assert await stranger.code() == (401, "auth")


async def test_a_stranger_changes_nothing_of_an_account(validator: validators.Client) -> None:
    stranger = Identity.from_seed(b"x" * 32)
    async with line(validator.validator.endpoint) as other:
        other.say(post("/v1/buckets", GOOD, signed("/v1/buckets", GOOD, signer=stranger)))
        assert await other.code() == (401, "auth")


async def test_receipts_are_given_for_what_is_stored_only(tmp_path: Path) -> None:
    """The control of this file: the same upload, honest, is stored."""
    async with make_world(tmp_path) as world, world.serving() as miner:
        answer = await miner.put(miner.proof(DATA), DATA)
        assert Receipt.parse(answer.body).miner == MINER.public_key
        assert miner.store.space()[1] == len(DATA)
