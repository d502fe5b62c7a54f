"""One history: a network, clients that use it, and everything that goes wrong meanwhile, all from one seed.

:func:`play` runs a history to its end and raises Violation with what was done, in order, when a promise is broken.
What is promised while things go wrong is tests.histories.model; what is once they go right again, ``ending`` checks.

Example::

    world = play(17)
    print("\n".join(world.log))
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import bittensor_core

from hippy.miner import store
from hippy.miner.files import PieceFiles
from hippy.points import watching
from hippy.testing.loop import SimulatedLoop, run_simulated
from tests.histories.calls import use
from tests.histories.ending import check_ending
from tests.histories.faults import cause_faults, draw_faults
from tests.histories.nodes import MINERS, ClientNode, MinerNode, ValidatorNode
from tests.histories.world import World


def play(seed: int) -> World:
    """Run the history of a seed; raises Violation."""
    with _repeatable(seed):
        return run_simulated(_play(seed), seed=seed)


async def _play(seed: int) -> World:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    chance = random.Random(f"history {seed}")
    world = World(
        seed=seed,
        loop=loop,
        chance=chance,
        miners=[MinerNode(number, loop, chance) for number in range(MINERS)],
        validator=ValidatorNode(loop, chance),
        clients=[ClientNode(f"client{number}", loop, chance) for number in range(chance.choice((1, 1, 2)))],
    )
    for miner in world.miners:
        await miner.start()
    await world.validator.start()
    await asyncio.sleep(1.0)
    with watching(world.reached):
        draw_faults(world)
        faults = asyncio.create_task(cause_faults(world))
        try:
            async with asyncio.TaskGroup() as group:
                for client in world.clients:
                    group.create_task(use(world, client))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            faults.cancel()
            await asyncio.gather(faults, return_exceptions=True)
        await check_ending(world)
    if loop.errors:
        world.fail(f"errors that nobody caught: {loop.errors}")
    return world


_sweep = store._sweep
_verify = lru_cache(maxsize=10_000)(bittensor_core.verify)
"""Miners, validator and clients check the same signatures; so do the histories of one seed under several mutations."""


async def _sweep_what_is_there(files: Any, index: Any) -> None:
    """Leave out the sweep of an empty disk, which takes as long as everything else at a miner's start."""
    if not _has_no_files(files):
        await _sweep(files, index)


def _has_no_files(files: Any) -> bool:
    """Look for piece files without making a path for each of 256 folders; one without bytes is a file too."""
    return not _names_of_files(files._disk._root)


def _names_of_files(directory: Any) -> list[str]:
    names = list[str]()
    for name, node in directory.now.items():
        names += _names_of_files(node) if hasattr(node, "now") else [name]
    return names


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Have nonces, salts and names of drafts come from the seed as well: sizes and orders follow from them."""
    source = random.Random(f"secrets {seed}")
    with (
        patch.object(secrets, "token_bytes", lambda count=32: source.randbytes(count)),
        patch.object(secrets, "token_hex", lambda count=32: source.randbytes(count).hex()),
        patch.object(store, "_sweep", _sweep_what_is_there),
        patch.object(PieceFiles, "is_empty", _has_no_files),
        patch.object(bittensor_core, "verify", _verify),
    ):
        yield
