"""A change is answered when followers have it, and never hangs: in virtual time, over real HTTP."""

from __future__ import annotations

import asyncio

from hippy.errors import TemporaryError
from hippy.validator.following.copies import LIVE_SECONDS, WAIT_SECONDS
from hippy.validator.following.replica import progress, reader_of
from hippy.wire.object import BucketAnswer
from tests.histories.chain import NETWORK
from tests.validator.following.world import CLOCK, Subnet, play, refused, row


async def _all_follow(subnet: Subnet, number: int = 0) -> None:
    """Wait until the other validators that run have all of a validator's log."""
    home = subnet.validators[number]

    async def is_so() -> bool:
        end = await home.end()
        others = [node for node in subnet.validators if node is not home and node.is_up]
        return all([(await node.read(lambda r: progress(reader_of(r, home.key)))).at == end for node in others])

    await subnet.until(is_so)


def test_a_validator_that_is_alone_answers_at_once_with_one_copy() -> None:
    async def story(subnet: Subnet) -> None:
        began = CLOCK.now()
        answer = await subnet.make_bucket(0, "a")
        assert (answer.copies, answer.acks) == (1, ())
        assert CLOCK.now() - began < 0.5

    play(story, validators=1)


def test_an_answer_shows_the_acknowledgements_of_all_live_followers() -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        await _all_follow(subnet)
        began = CLOCK.now()
        answer = await subnet.write(0, row("x"))
        assert CLOCK.now() - began < 0.5
        end = await subnet.validators[0].end()
        assert answer.copies == 3
        assert {ack.follower for ack in answer.acks} == {node.key for node in subnet.validators[1:]}
        for ack in answer.acks:
            assert (ack.seq, ack.head) == (end.seq, end.head)
            ack.check_signature(ack.follower, NETWORK)

    play(story)


def test_a_follower_that_dies_holds_an_answer_back_for_five_seconds_and_no_longer() -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        await _all_follow(subnet)
        subnet.kill(2)
        began = CLOCK.now()
        answer = await subnet.make_bucket(0, "b")
        assert answer.copies == 2
        assert CLOCK.now() - began < LIVE_SECONDS + 0.5
        began = CLOCK.now()
        assert (await subnet.make_bucket(0, "c")).copies == 2
        assert CLOCK.now() - began < 0.5

    play(story)


def test_with_all_followers_dead_an_answer_is_temporary_and_its_repeat_is_answered_when_one_is_back() -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        await _all_follow(subnet)
        subnet.kill(1)
        subnet.kill(2)
        asked, began = subnet.bucket_request("b").encode(), CLOCK.now()
        error = await refused(subnet.post(0, "/v1/buckets/write", asked))
        assert isinstance(error, TemporaryError)
        assert "repeat" in (error.hint or "")
        assert WAIT_SECONDS <= CLOCK.now() - began < WAIT_SECONDS + 1
        end = await subnet.validators[0].end()
        again = asyncio.create_task(subnet.post(0, "/v1/buckets/write", asked))
        await asyncio.sleep(2.0)
        await subnet.start(1)
        answer = BucketAnswer.parse(await again)
        assert answer.copies == 2
        assert await subnet.validators[0].end() == end  # it was made once

    play(story)


def test_a_change_before_any_follower_is_there_waits_for_the_first() -> None:
    async def story(subnet: Subnet) -> None:
        subnet.kill(1)
        change = asyncio.create_task(subnet.make_bucket(0, "a"))
        await asyncio.sleep(1.0)
        await subnet.start(1)
        assert (await change).copies == 2

    play(story, validators=2)
