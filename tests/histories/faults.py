"""What goes wrong in a history: crashes at points and at any time, disks that are full, slow or broken, bad weather."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Final

from hippy.points import POINTS
from hippy.testing.crash import Loss
from hippy.testing.disk import Operation
from hippy.testing.network import Weather
from tests.histories.world import Trigger, World

WRITING: Final = frozenset({"create", "write", "sync", "rename", "sync_directory"})
NOT_PLAYED: Final = frozenset(
    {
        *("client.file_written", "client.file_renamed"),
        *("validator.before_follow", "validator.followed"),
        *("validator.before_repair", "validator.repair_planned", "validator.before_order"),
        *("validator.order_answered", "validator.before_move", "validator.moved"),
    }
)
"""The simulated client writes no files, its one validator follows nobody and repairs nothing: others kill at these."""

CRASH_POINTS: Final = tuple(point for point in POINTS if point not in NOT_PLAYED)


def draw_faults(world: World) -> None:
    """Decide where nodes will end, and how the weather is."""
    chance = world.chance
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        point, loss = chance.choice(CRASH_POINTS), chance.choice(tuple(Loss))
        away = chance.choice((0.1, 2.0, 30.0))
        world.triggers.append(Trigger(point, chance.choice((1, 1, 2, 3, 5, 8)), loss, away))
        world.say(f"trigger: {world.triggers[-1]}")
    if chance.random() < 0.4:
        world.loop.network.weather = Weather(
            delay_seconds=chance.choice((0.001, 0.05, 1.0)),
            late=_rare(world),
            cut_before=_rare(world),
            cut_after=_rare(world),
            silence=_rare(world) / 2,
        )
        world.say(f"weather: {world.loop.network.weather}")


def _rare(world: World) -> float:
    return world.chance.choice((0.0, 0.0, 0.005, 0.02))


async def cause_faults(world: World) -> None:
    """Now and then do to a node what happens to nodes."""
    chance = world.chance
    for _ in range(chance.choice((0, 0, 1, 2, 3))):
        await asyncio.sleep(chance.expovariate(1 / 3))
        fault = chance.choice(
            (_kill_any, _kill_any, _kill_any, _fill_disk, _fill_database, _slow_disk, _break_disk, _keep_house)
        )
        await fault(world)


async def _kill_any(world: World) -> None:
    chance = world.chance
    node = chance.choice([world.validator, *world.miners, *world.clients])
    world.kill(node, chance.choice(tuple(Loss)), chance.choice((0.1, 2.0, 30.0)), "by chance")


async def _fill_disk(world: World) -> None:
    chance = world.chance
    full, room_bytes = chance.sample(world.miners, chance.choice((1, 1, 4))), chance.choice((0, 8192))
    for miner in full:
        miner.disk.foreign_bytes = miner.disk.capacity_bytes - room_bytes
        world.say(f"{miner.name}'s disk is full")
    await asyncio.sleep(chance.choice((1.0, 10.0)))
    for miner in full:
        miner.disk.foreign_bytes = 0
    world.say("disks have room")


async def _fill_database(world: World) -> None:
    node = world.chance.choice([world.validator, *world.miners])
    node.database.fill(world.chance.choice((1, 3, None)))
    world.say(f"{node.name}'s index is full")
    await asyncio.sleep(world.chance.choice((1.0, 10.0)))
    node.database.free()
    world.say(f"{node.name}'s index has room")


async def _slow_disk(world: World) -> None:
    node = world.chance.choice([world.validator, *world.miners])
    node.process.slow_seconds = 8.0
    world.say(f"{node.name} is slow")
    await asyncio.sleep(20.0)
    node.process.slow_seconds = 0.0
    world.say(f"{node.name} is fast")


async def _break_disk(world: World) -> None:
    miner, likelihood = world.chance.choice(world.miners), world.chance.choice((0.1, 0.5))

    def before(operation: Operation) -> None:
        if operation.kind in WRITING and world.chance.random() < likelihood:
            raise OSError(errno.EIO, "a broken disk")

    miner.disk.before = before
    world.say(f"{miner.name}'s disk fails")
    await asyncio.sleep(5.0)
    miner.disk.before = None
    world.say(f"{miner.name}'s disk works")


async def _keep_house(world: World) -> None:
    for miner in world.chance.sample(world.miners, 2):
        world.say(f"{miner.name} keeps house")
        await miner.keep_house()


FAULTS: Final[tuple[Callable[[World], Awaitable[None]], ...]] = (
    _kill_any,
    _kill_any,
    _kill_any,
    _fill_disk,
    _fill_database,
    _slow_disk,
    _break_disk,
    _keep_house,
)
