"""Who may follow, how much at once, and whose word of what it has is believed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hippy.errors import AuthError, HippyError, NotFoundError, ProtocolError, RateLimitedError
from hippy.identity import Identity
from hippy.ids import MessageId, PublicKey
from hippy.testing.clock import VirtualClock
from hippy.testing.kv import MemoryDatabase
from hippy.transport.client import Call, Peer, open_http
from hippy.validator.following.copies import Copies
from hippy.validator.following.desk import QUESTIONS_MAX
from hippy.validator.following.replica import progress, reader_of, record_id
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.log import append, position
from hippy.validator.tables import claim
from hippy.wire.copies import FollowerAck
from hippy.wire.follow import FOLLOW_ANSWER_BYTES_MAX, FollowPage, FollowRequest
from hippy.wire.log import AccountRecord
from hippy.wire.parts import parse_parts
from tests.validator.following.world import CLOCK, ENDPOINTS, KEYS, Subnet, play, refused
from tests.validator.world import ACCOUNT, HOME, MINERS, NETWORK

HOME_KEY = KEYS[0].public_key


async def ask(
    who: Identity, *, home: PublicKey = HOME_KEY, after: int = 0, wait_seconds: int = 0, at: int = 0
) -> FollowPage:
    """Ask a validator as somebody would."""
    request = FollowRequest(home=home, after=after, wait_seconds=wait_seconds)
    call = Call("POST", "/v1/follow", request.encode(), answer_bytes_max=FOLLOW_ANSWER_BYTES_MAX)
    async with open_http(who, CLOCK) as http:
        return parse_parts(FollowPage, await http.bytes(Peer(ENDPOINTS[at], KEYS[at].public_key), call))[0]


@pytest.mark.parametrize("who", [ACCOUNT, MINERS[0]])
def test_nobody_but_validators_may_follow(who: Identity) -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        assert isinstance(await refused(ask(who)), AuthError)
        assert len((await ask(KEYS[1])).entries) == 1

    play(story, validators=2)


def test_a_log_that_is_not_followed_is_not_found() -> None:
    async def story(subnet: Subnet) -> None:
        assert isinstance(await refused(ask(KEYS[1], home=PublicKey(b"x" * 32))), NotFoundError)

    play(story, validators=2)


def test_a_question_waits_for_a_record_and_no_longer_than_it_says() -> None:
    async def story(subnet: Subnet) -> None:
        began = CLOCK.now()
        assert (await ask(KEYS[1], wait_seconds=7)).entries == ()
        assert 7 <= CLOCK.now() - began < 8
        waiting = asyncio.create_task(ask(KEYS[1], wait_seconds=10))
        await asyncio.sleep(3)
        await subnet.commit(0, 1)
        began = CLOCK.now()
        assert len((await waiting).entries) == 1
        assert CLOCK.now() - began < 0.5

    play(story, validators=2)


def test_one_validator_cannot_take_more_than_its_questions() -> None:
    async def story(subnet: Subnet) -> None:
        subnet.kill(1)
        waiting = []
        for _ in range(QUESTIONS_MAX):
            waiting.append(asyncio.create_task(ask(KEYS[1], wait_seconds=10)))
            await asyncio.sleep(0.5)  # a nonce is a time
        assert isinstance(await refused(ask(KEYS[1])), RateLimitedError)
        await asyncio.gather(*waiting)
        await ask(KEYS[1])

    play(story, validators=2)


FOLLOWER = KEYS[1]


@pytest.fixture
async def copies() -> Copies:
    """Return the copies of a log with two records, with another validator on the subnet."""
    clock = VirtualClock()
    database = WatchedDatabase(MemoryDatabase(), clock)
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    records = [AccountRecord(account=ACCOUNT.public_key, pay_class="paid", quota_bytes=number) for number in (1, 2)]
    await database.transact(lambda txn: append(txn, HOME, records, int(clock.now())))
    return Copies(HOME, database, clock, lambda: True)


def ack(copies: Copies, signer: Identity = FOLLOWER, **change: Any) -> FollowerAck:
    """Return a follower's word that it has all."""
    values: dict[str, Any] = {
        "follower": FOLLOWER.public_key,
        "home": HOME.hotkey,
        "netuid": HOME.netuid,
        "term": 1,
        "seq": copies._database.newest.seq,
        "head": copies._database.newest.head,
        "time": int(copies._clock.now()),
    }
    return FollowerAck.model_validate({**values, **change}).signed(signer, NETWORK)


async def test_a_good_word_counts(copies: Copies) -> None:
    good = ack(copies)
    assert await copies.note(good, FOLLOWER.public_key)
    assert await copies.wait(2) == (good,)
    assert copies.live() == [good]


async def test_a_word_about_an_older_record_counts_for_that(copies: Copies) -> None:
    entry_id = await copies._database.read(lambda reader: _id_of(reader, 1))
    good = ack(copies, seq=1, head=entry_id)
    assert await copies.note(good, FOLLOWER.public_key)
    assert await copies.wait(1) == (good,)


def _id_of(reader: Any, seq: int) -> MessageId:
    return record_id(reader, seq, NETWORK)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"follower": KEYS[2].public_key}, AuthError),
        ({"home": KEYS[2].public_key}, ProtocolError),
        ({"netuid": 99}, ProtocolError),
        ({"time": 5}, ProtocolError),
        ({"signer": KEYS[2]}, AuthError),
    ],
)
async def test_a_bad_word_is_refused(copies: Copies, change: dict[str, Any], error: type[HippyError]) -> None:
    with pytest.raises(error):
        await copies.note(ack(copies, **change), FOLLOWER.public_key)
    assert copies.live() == []


@pytest.mark.parametrize("change", [{"seq": 3}, {"head": MessageId(b"x" * 32)}, {"seq": 1}])
async def test_a_word_about_records_that_we_have_not_does_not_count(copies: Copies, change: dict[str, Any]) -> None:
    assert await copies.note(ack(copies), FOLLOWER.public_key)
    assert not await copies.note(ack(copies, **change), FOLLOWER.public_key)
    assert copies.live() == []


def test_a_follower_that_claims_more_than_was_ever_written_changes_nothing() -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        await ask(KEYS[1], after=1_000_000)
        await asyncio.sleep(5)
        assert (await subnet.make_bucket(0, "b")).copies == 2
        follower, home = subnet.validators[1], subnet.validators[0]
        assert (await follower.read(lambda r: progress(reader_of(r, home.key)))).at == await home.read(position)

    play(story, validators=2)
