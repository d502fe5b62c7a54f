"""What clients do in a history, and what they may be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hippy.client.sdk import AsyncClient
from hippy.errors import ConflictError, HippyError, NotFoundError, QuotaError, TemporaryError
from hippy.testing.crash import Loss
from hippy.testing.loop import Killed
from tests.histories.model import shown
from tests.histories.nodes import ClientNode
from tests.histories.world import BUCKET, NAMES, World, check_listing, check_read

OPERATION_SECONDS: Final = 3_600.0
"""No call takes longer, whatever happens to it: each has its deadlines."""


async def use(world: World, client: ClientNode) -> None:
    """Do what a program does with a network, one call after the other."""
    chance = world.chance
    for _ in range(chance.randint(4, 10) if len(world.clients) == 1 else chance.randint(3, 6)):
        if not client.is_up and not await _open(world, client):
            continue
        assert client.sdk is not None
        await chance.choice(OPERATIONS)(world, client, client.sdk)
        if chance.random() < 0.1:
            await asyncio.sleep(chance.choice((1.0, 60.0, 450.0, 3_000.0)))


async def _open(world: World, client: ClientNode) -> bool:
    try:
        await client.start()
    except TemporaryError as error:
        client.kill(Loss.KILL)
        world.say(f"{client.name} does not open: {error.message}")
        await asyncio.sleep(5.0)
    return client.is_up


async def _call(world: World, client: ClientNode, work: Any, what: str) -> Any:
    """Return what a call of a client comes to: its result, its error, or Killed when the client died."""
    world.say(f"{client.name} {what} …")
    task = client.run(work)
    process = client.process
    done, _ = await asyncio.wait([task], timeout=OPERATION_SECONDS)
    if not done:
        world.fail(f"{client.name} {what} takes longer than {OPERATION_SECONDS} s")
    if not process.is_alive:
        outcome: Any = Killed()
    else:
        outcome = task.exception() if not task.cancelled() else Killed()
        outcome = outcome if outcome is not None else task.result()
    said = outcome.message if isinstance(outcome, HippyError) else ""
    world.say(f"{client.name} {what} → {type(outcome).__name__} {said}")
    if isinstance(outcome, BaseException) and not isinstance(outcome, Killed | HippyError):
        raise outcome
    return outcome


def _content(world: World) -> bytes:
    """Return a new content, unlike all others: inline, small, or of several leaves."""
    size = world.chance.choice((0, 60, 5_000, 5_000, 5_001, 40_000))
    world.written += 1
    return (b"%4d" % world.written + world.chance.randbytes(size))[: max(size, 4)]


async def _put(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    name, content, if_absent = world.chance.choice(NAMES), _content(world), world.chance.random() < 0.2
    write = world.model.begin(name, content)
    what = f"puts {name} = {shown(content)}{' if absent' if if_absent else ''}"
    outcome = await _call(world, client, sdk.put(content, BUCKET + name, if_absent=if_absent), what)
    match outcome:
        case QuotaError():
            world.model.refused(name, write)
        case ConflictError() if if_absent:
            world.model.refused(name, write)
        case TemporaryError() | Killed():
            world.model.failed(write)
        case ConflictError():  # somebody else keeps writing
            world.model.failed(write)
        case HippyError():
            world.fail(f"a put fails with {outcome!r}")
        case _:
            world.model.acknowledged(write)


async def _delete(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    name = world.chance.choice(NAMES)
    began, write = world.model.moment(), world.model.begin(name, None)
    outcome = await _call(world, client, sdk.delete(BUCKET + name), f"deletes {name}")
    match outcome:
        case NotFoundError():
            world.model.refused(name, write)
            check_read(world, name, began, None)
        case TemporaryError() | ConflictError() | Killed():
            world.model.failed(write)
        case HippyError():
            world.fail(f"a delete fails with {outcome!r}")
        case _:
            world.model.acknowledged(write)


async def _copy(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    await _copy_or_move(world, client, sdk, is_move=False)


async def _move(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    await _copy_or_move(world, client, sdk, is_move=True)


async def _copy_or_move(world: World, client: ClientNode, sdk: AsyncClient, *, is_move: bool) -> None:
    source, target = world.chance.sample(NAMES, 2)
    began, writes = world.model.moment(), [(target, world.model.begin_copy(source, target))]
    if is_move:
        writes.append((source, world.model.begin(source, None)))
    call, verb = (sdk.move, "moves") if is_move else (sdk.copy, "copies")
    match await _call(world, client, call(BUCKET + source, BUCKET + target), f"{verb} {source} to {target}"):
        case NotFoundError():
            check_read(world, source, began, None)
            for name, write in writes:
                world.model.refused(name, write)
        case TemporaryError() | ConflictError() | QuotaError() | Killed():
            for _, write in writes:
                world.model.failed(write)
        case HippyError() as error:
            world.fail(f"a copy or move fails with {error!r}")
        case _:
            for _, write in writes:
                world.model.acknowledged(write)


async def _get(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    name, began = world.chance.choice(NAMES), world.model.moment()
    outcome = await _call(world, client, sdk.get(BUCKET + name), f"gets {name}")
    match outcome:
        case bytes():
            check_read(world, name, began, outcome)
        case NotFoundError():
            check_read(world, name, began, None)
        case TemporaryError() | Killed():
            pass
        case _:
            world.fail(f"a get comes to {outcome!r}")


async def _list(world: World, client: ClientNode, sdk: AsyncClient) -> None:
    began = world.model.moment()
    outcome = await _call(world, client, sdk.list(BUCKET, recursive=True), "lists")
    match outcome:
        case list():
            check_listing(world, began, {entry.path: entry.size for entry in outcome})
        case TemporaryError() | NotFoundError() | Killed():
            pass
        case _:
            world.fail(f"a list comes to {outcome!r}")


OPERATIONS: Final[tuple[Callable[[World, ClientNode, AsyncClient], Any], ...]] = (
    _put,
    _put,
    _put,
    _put,
    _delete,
    _copy,
    _move,
    _get,
    _get,
    _list,
)
