"""Followers have what their homes have, wherever they are killed, and answer reads from it; changes the home alone."""

from __future__ import annotations

import asyncio

import pytest

from hippy.errors import NotHomeError
from hippy.points import watching
from hippy.testing.crash import Loss
from hippy.testing.loop import Killed, current_process
from hippy.validator.following.replica import REPLICA, progress, reader_of
from hippy.validator.tables import ENVELOPES, HOLDING, MANIFEST, SEGMENT
from hippy.wire.node import AccountStatus
from hippy.wire.object import BucketsAnswer, BucketsRequest, ListAnswer, ListRequest
from hippy.wire.segment import SegmentsAnswer, SegmentsRequest
from hippy.wire.validators import VALIDATORS_BYTES_MAX, Validators
from tests.histories.chain import NETWORK
from tests.validator.following.test_fold import told
from tests.validator.following.world import BUCKET, KEYS, Subnet, play, refused, row
from tests.validator.following.world import MANIFEST as PLAIN
from tests.validator.world import ACCOUNT, component


async def follows(subnet: Subnet, follower: int, home: int = 0) -> None:
    """Wait until a validator has all of another's log."""
    node, followed = subnet.validators[follower], subnet.validators[home]

    async def is_so() -> bool:
        return (await node.read(lambda r: progress(reader_of(r, followed.key)))).at == await followed.end()

    await subnet.until(is_so)


async def same_tables(subnet: Subnet, follower: int, home: int = 0) -> None:
    """Check that a follower's tables of a home are the home's own."""
    node, followed = subnet.validators[follower], subnet.validators[home]
    ours = await followed.read(told)
    theirs = await node.read(lambda r: told(reader_of(r, followed.key)))
    apart = (REPLICA, b"duty/", b"equiv/", b"at", b"signed/", b"want/")
    assert {k: v for k, v in theirs.items() if not k.startswith(apart)} == {
        k: v for k, v in ours.items() if not k.startswith(apart)
    }


async def some_changes(subnet: Subnet) -> None:
    """Change something of every kind that needs no miner."""
    await subnet.make_bucket(0, "empty")
    one, two = await subnet.commit(0, 1), await subnet.commit(0, 2)
    first = row("a", segment_ids=(one.record.segment_id,))
    await subnet.write(0, first, row("b", segment_ids=(two.record.segment_id,)))
    await subnet.write(0, row("a", replaces=first, segment_ids=(one.record.segment_id,)))


def test_a_follower_has_the_rows_segments_and_manifests_of_its_home() -> None:
    async def story(subnet: Subnet) -> None:
        await some_changes(subnet)
        await follows(subnet, 1)
        await same_tables(subnet, 1)
        replica = {key async for key in _keys(subnet, 1)}
        for table in (SEGMENT, ENVELOPES, HOLDING, MANIFEST):
            assert any(key.startswith(table) for key in replica)

    play(story, validators=2)


async def _keys(subnet: Subnet, number: int):  # type: ignore[no-untyped-def]
    home = subnet.validators[0].key
    for key in await subnet.validators[number].read(lambda r: [k for k, _ in reader_of(r, home).scan(b"")]):
        yield key


def test_a_follower_that_comes_late_gets_manifests_of_current_rows_alone() -> None:
    async def story(subnet: Subnet) -> None:
        subnet.kill(1)
        await some_changes(subnet)
        await subnet.start(1)
        await follows(subnet, 1)
        await same_tables(subnet, 1)
        home = subnet.validators[0].key
        manifests = await subnet.validators[1].read(lambda r: list(reader_of(r, home).scan(MANIFEST)))
        assert [value for _, value in manifests] == [PLAIN, PLAIN]

    play(story, validators=3)


@pytest.mark.parametrize("point", ["validator.before_follow", "validator.followed", "kv.before_batch", "kv.batch"])
@pytest.mark.parametrize("visit", [1, 3])
def test_a_follower_killed_anywhere_goes_on_where_it_stopped(point: str, visit: int) -> None:
    async def story(subnet: Subnet) -> None:
        follower, left = subnet.validators[1], visit

        def watch(reached: str) -> None:
            nonlocal left
            if current_process() is not follower.process:
                return
            if not follower.process.is_alive:
                raise Killed
            left -= reached == point
            if left == 0 and reached == point:
                follower.kill(Loss.KILL)
                raise Killed

        with watching(watch):
            changes = asyncio.create_task(some_changes(subnet))
            await changes
            assert left <= 0
            if not follower.is_up:
                await follower.start()
            await follows(subnet, 1)
            await same_tables(subnet, 1)

    play(story, validators=3)


def test_reads_are_answered_by_a_follower_when_the_home_is_gone() -> None:
    async def story(subnet: Subnet) -> None:
        await some_changes(subnet)
        for number in (1, 2):
            await follows(subnet, number)
        expected = await _answers(subnet, 0)
        subnet.kill(0)
        for number in (1, 2):
            assert await _answers(subnet, number) == expected

    play(story)


async def _answers(subnet: Subnet, number: int) -> list[bytes]:
    """Return what one validator answers to every read."""
    listing = ListRequest(account=ACCOUNT.public_key, bucket=BUCKET, prefix=(), depth="all", limit=10)
    ids = [key[len(SEGMENT) :] for key in [k async for k in _keys(subnet, 1)] if key.startswith(SEGMENT)]
    segments = await subnet.post(
        number, "/v1/segments", SegmentsRequest.model_validate({"segment_ids": tuple(ids)}).encode()
    )
    assert len(SegmentsAnswer.parse(segments).segments) == 2
    listed = await subnet.post(number, "/v1/objects/list", listing.encode())
    assert len(ListAnswer.parse(listed).rows) == 2
    buckets = await subnet.post(number, "/v1/buckets", BucketsRequest(account=ACCOUNT.public_key).encode())
    assert set(BucketsAnswer.parse(buckets).buckets) == {BUCKET, component("empty")}
    found, manifests = await subnet.read(number, "a", "b", "nothing")
    assert manifests == [PLAIN, PLAIN]
    status = await subnet.get(number, "/v1/account")
    told_status = AccountStatus.parse(status)
    assert (told_status.home, told_status.term, told_status.change) == (KEYS[0].public_key, 1, None)
    assert told_status.used_bytes > 0
    return [segments, listed, buckets, found.encode(), status]


def test_changes_at_a_follower_are_refused_with_the_name_of_the_home() -> None:
    async def story(subnet: Subnet) -> None:
        await some_changes(subnet)
        await follows(subnet, 1)
        error = await refused(subnet.make_bucket(1, "b"))
        assert isinstance(error, NotHomeError)
        assert KEYS[0].ss58 in error.message
        assert (await subnet.validators[1].end()).seq == 0

    play(story)


def test_another_follower_tells_of_a_home_that_is_away() -> None:
    async def story(subnet: Subnet) -> None:
        subnet.kill(2)
        await some_changes(subnet)
        await follows(subnet, 1)
        end = await subnet.validators[0].end()
        subnet.kill(0)
        await subnet.start(2)
        late, home = subnet.validators[2], subnet.validators[0].key

        async def has_all() -> bool:
            return (await late.read(lambda r: progress(reader_of(r, home)))).at == end

        await subnet.until(has_all)
        assert (await subnet.read(2, "a"))[1] == [PLAIN]

    play(story)


def test_the_list_of_validators_names_all_with_their_keys_and_how_far_they_are_followed() -> None:
    async def story(subnet: Subnet) -> None:
        await some_changes(subnet)
        await follows(subnet, 1)
        await asyncio.sleep(2.0)
        listed = Validators.parse(await subnet.get(1, "/v1/validators"), limit=VALIDATORS_BYTES_MAX)
        listed.check_signature(KEYS[1].public_key, NETWORK)
        assert [entry.hotkey for entry in listed.validators] == [key.public_key for key in KEYS[:3]]
        assert {entry.state for entry in listed.validators} == {"live"}
        assert listed.validators[0].followed_seq == (await subnet.validators[0].end()).seq
        for entry in listed.validators:
            assert entry.encryption_key is not None
            entry.encryption_key.check_signature(entry.hotkey, NETWORK)

    play(story)


def test_a_long_log_is_followed_page_by_page_in_portions() -> None:
    async def story(subnet: Subnet) -> None:
        subnet.kill(1)
        await subnet.commit(0, *range(1, 260))
        await subnet.start(1)
        await follows(subnet, 1)
        await same_tables(subnet, 1)

    play(story, validators=3)
