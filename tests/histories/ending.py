"""What must be so when faults have ended: everything that was acknowledged is there, and nothing else stays."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from hippy.client.names import seal_path
from hippy.client.sdk import AsyncClient
from hippy.errors import HippyError, NotFoundError
from hippy.testing.crash import Loss
from hippy.testing.network import Weather
from tests.histories.nodes import PACE, ClientNode, MinerNode
from tests.histories.world import BUCKET, NAMES, World, check_listing

CLOSE_SECONDS: Final = 3 * 3_600.0
"""An upload runs an hour and its ticket is released an hour later; drops and leases run out sooner here."""

SELDOM_SECONDS: Final = 1_800.0


async def check_ending(world: World) -> None:
    """End all faults and check what has to be true then, at once and for good."""
    await _calm(world)
    checker = ClientNode("checker", world.loop, world.chance)
    await checker.start()
    assert checker.sdk is not None
    held = await _read_all(world, checker)
    for seconds in (CLOSE_SECONDS, PACE.trash_seconds + 2 * SELDOM_SECONDS):
        await asyncio.sleep(seconds)
        for miner in world.miners:
            await miner.keep_house()
    later = await _read_all(world, checker)
    if held != later:
        world.fail("contents changed though nobody wrote")
    await _check_accounts(world, checker)
    checker.kill(Loss.KILL)


async def _calm(world: World) -> None:
    world.triggers.clear()
    world.loop.network.weather = Weather(delay_seconds=0.001)
    world.say("faults end")
    while world.returning:
        await asyncio.wait(world.returning)
    for node in world.nodes:
        node.process.slow_seconds = 0.0
        node.database.free()
    for miner in world.miners:
        miner.disk.before, miner.disk.foreign_bytes = None, 0
    for client in world.clients:
        client.kill(Loss.KILL)
    world.validator.pause_seconds = SELDOM_SECONDS
    world.kill(world.validator, Loss.POWER, 0.1, "to look at its miners anew")
    if world.chance.random() < 0.4:
        for miner in world.miners:
            world.kill(miner, Loss.POWER, 0.05, "as all of them do")
    while world.returning:
        await asyncio.wait(world.returning)
    for node in [world.validator, *world.miners]:
        assert node.is_up, f"{node.name} is down"
    await asyncio.sleep(5.0)


async def _read_all(world: World, checker: ClientNode) -> dict[str, bytes]:
    sdk, held = checker.sdk, dict[str, bytes]()
    assert sdk is not None
    for name in NAMES:
        began = world.model.moment()
        try:
            found: bytes | None = await checker.run(sdk.get(BUCKET + name))
        except NotFoundError:
            found = None
        except HippyError as error:
            world.fail(f"{name} cannot be read though all nodes are up: {error!r}")
        wrong = world.model.check(name, began, found)
        if wrong:
            world.fail(f"after all faults, {wrong}")
        if found is not None:
            held[name] = found
    began = world.model.moment()
    listed = await checker.run(sdk.list(BUCKET, recursive=True))
    check_listing(world, began, {entry.path: entry.size for entry in listed})
    if {entry.path for entry in listed} != set(held):
        world.fail(f"listed: {[entry.path for entry in listed]}, readable: {sorted(held)}")
    return held


async def _check_accounts(world: World, checker: ClientNode) -> None:
    """Check what the account is charged, and what lies on the miners, against what its rows name."""
    sdk = checker.sdk
    assert sdk is not None
    charged, owed = await checker.run(_what_rows_name(sdk))
    account = await checker.run(sdk.whoami())
    if account.used_bytes != charged:
        world.fail(f"the account is charged {account.used_bytes} bytes, its objects take {charged}")
    for miner in world.miners:
        wanted, (there, unfinished) = owed.get(miner.identity.public_key, set()), _kept(miner)
        if there != wanted:
            world.fail(
                f"{miner.name} keeps {len(there - wanted)} pieces that nobody needs "
                f"and has lost {len(wanted - there)} that are needed"
            )
        if unfinished:
            world.fail(f"{miner.name} has files left in incoming/")


def _kept(miner: MinerNode) -> tuple[set[str], int]:
    """Return the roots that a miner has files of, and how many uploads it has not finished."""
    files = [path.parts for path in miner.disk.files()]
    pieces = {parts[-1].removesuffix(".tree") for parts in files if "pieces" in parts}
    return pieces, sum("incoming" in parts for parts in files)


async def _what_rows_name(sdk: AsyncClient) -> tuple[int, dict[bytes, set[str]]]:
    """Return what current rows and their segments are charged, in bytes, and the roots that each miner owes."""
    session = sdk._session
    places = [seal_path(session.keys, "bucket", tuple(name.split("/"))) for name in NAMES]
    found: list[Any] = [each for each in await sdk._rows.read(places) if each is not None]
    charged = sum(len(each.row.encode()) + each.row.manifest_length for each in found)
    records = await session.api.segments(sorted({one for each in found for one in each.row.segment_ids}))
    owed: dict[bytes, set[str]] = {}
    for record in records.values():
        assert not isinstance(record, HippyError), record
        charged += record.spec.n * record.spec.piece_length
        for holding in record.holdings:
            owed.setdefault(holding.miner, set()).add(record.spec.roots[holding.index].hex())
    return charged, owed
