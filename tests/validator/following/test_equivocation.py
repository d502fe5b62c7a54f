"""A home that signs two logs is caught by a follower; one that lost its newest records gets them back instead."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from hippy.errors import HippyError, TemporaryError
from hippy.testing.kv import MemoryDatabase
from hippy.validator.following.equivocations import equivocation_of
from hippy.validator.following.replica import progress, reader_of
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.tables import HOME
from hippy.wire.follow import Equivocation
from tests.histories.chain import NETWORK
from tests.validator.following.test_following import follows, same_tables, some_changes
from tests.validator.following.world import KEYS, MANIFEST, Subnet, play, refused, row


def copy_of(database: MemoryDatabase) -> MemoryDatabase:
    """Return a backup."""
    copy = MemoryDatabase(pause=database.pause)
    for key, value in list(database._rows.scan(b"")):
        copy._rows.set(key, value)
    return copy


async def restored(subnet: Subnet, backup: MemoryDatabase) -> None:
    """Have the home's operator put a backup in the place of its registry."""
    subnet.kill(0)
    subnet.validators[0].database = backup


async def write_alone(subnet: Subnet, name: str) -> None:
    """Have the home write while nobody follows it."""
    with suppress(HippyError):
        await subnet.make_bucket(0, name)


async def equivocating(subnet: Subnet) -> None:
    """Have a home start from an older copy of its registry, while nobody is there to tell, and write on."""
    await subnet.make_bucket(0, "a")
    await follows(subnet, 1)
    backup = copy_of(subnet.validators[0].database)
    await subnet.make_bucket(0, "b")
    await follows(subnet, 1)
    subnet.kill(1)
    await restored(subnet, backup)
    await subnet.start(0)
    await write_alone(subnet, "other")
    await write_alone(subnet, "and on")


def test_a_home_that_writes_on_from_an_old_copy_is_caught_and_followed_no_further() -> None:
    async def story(subnet: Subnet) -> None:
        await equivocating(subnet)
        follower, home = subnet.validators[1], subnet.validators[0]
        before = await follower.read(lambda r: progress(reader_of(r, home.key)))
        await subnet.start(1)

        async def is_caught() -> bool:
            return await follower.read(lambda r: equivocation_of(r, home.key)) is not None

        await subnet.until(is_caught)
        shown = json.loads(await subnet.get(1, "/v1/equivocations"))["equivocations"]
        (proof,) = (
            Equivocation.parse(json.dumps(each, sort_keys=True, separators=(",", ":")).encode()) for each in shown
        )
        for head in (proof.ours, proof.theirs):
            assert head.home == home.key
            head.check_signature(home.key, NETWORK)
        assert (proof.ours.seq, proof.ours.head) == (before.at.seq, before.at.head)
        assert proof.record == before.at.head
        await asyncio.sleep(30)
        assert await follower.read(lambda r: progress(reader_of(r, home.key))) == before
        assert await subnet.get(1, "/v1/account")  # what it has it answers

    play(story, validators=2)


def test_proof_is_kept_when_the_follower_starts_again() -> None:
    async def story(subnet: Subnet) -> None:
        await equivocating(subnet)
        await subnet.start(1)
        await asyncio.sleep(5)
        subnet.kill(1)
        await subnet.start(1)
        await asyncio.sleep(5)
        assert len(json.loads(await subnet.get(1, "/v1/equivocations"))["equivocations"]) == 1

    play(story, validators=2)


def test_a_home_that_wrote_on_beside_its_followers_takes_no_more_changes_and_says_why() -> None:
    async def story(subnet: Subnet) -> None:
        await equivocating(subnet)
        await subnet.start(1)
        await asyncio.sleep(10)
        error = await refused(subnet.make_bucket(0, "c"))
        assert isinstance(error, TemporaryError)
        assert "old copy" in error.message
        assert "newest registry" in (error.hint or "")
        subnet.kill(0)
        await subnet.start(0)
        assert "old copy" in (await refused(subnet.make_bucket(0, "c"))).message

    play(story, validators=2)


def test_a_home_started_from_an_old_copy_takes_back_its_records_before_it_writes() -> None:
    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        backup = copy_of(subnet.validators[0].database)
        await some_changes(subnet)
        await follows(subnet, 1)
        end = await subnet.validators[0].end()
        await restored(subnet, backup)
        await subnet.start(0)
        assert await subnet.validators[0].end() == end
        await same_tables(subnet, 1)
        assert (await subnet.read(0, "a", "b"))[1] == [MANIFEST, MANIFEST]
        assert (await subnet.write(0, row("c"))).copies >= 2  # the third may be about to ask again
        entries = await subnet.validators[0].read(lambda r: list(scan_log(r)))
        verify_chain(entries, NETWORK)
        for number in (1, 2):
            await follows(subnet, number)
            assert await subnet.validators[number].read(lambda r: equivocation_of(r, KEYS[0].public_key)) is None

    play(story)


def test_a_home_that_lost_its_registry_altogether_gets_its_log_back() -> None:
    async def story(subnet: Subnet) -> None:
        await some_changes(subnet)
        await follows(subnet, 1)
        end = await subnet.validators[0].end()
        await restored(subnet, MemoryDatabase())
        await subnet.start(0)
        assert await subnet.validators[0].end() == end
        assert await subnet.validators[0].read(lambda r: r.get(HOME)) is not None
        await same_tables(subnet, 1)

    play(story)


def test_a_home_that_starts_alone_from_an_old_copy_learns_of_it_when_a_follower_comes() -> None:
    """Nothing was written meanwhile, so that its records can be taken back while it runs."""

    async def story(subnet: Subnet) -> None:
        await subnet.make_bucket(0, "a")
        backup = copy_of(subnet.validators[0].database)
        await some_changes(subnet)
        await follows(subnet, 1)
        end = await subnet.validators[0].end()
        subnet.kill(1)
        await restored(subnet, backup)
        await subnet.start(0)
        assert await subnet.validators[0].end() != end
        await subnet.start(1)

        async def is_back() -> bool:
            return await subnet.validators[0].end() == end

        await subnet.until(is_back)
        assert (await subnet.make_bucket(0, "later")).copies == 2

    play(story, validators=2)
