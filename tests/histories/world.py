"""The network of one history, what has been done to it, and what may be read from it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NoReturn

from hippy.errors import HippyError
from hippy.testing.crash import Loss
from hippy.testing.loop import OUTSIDE, Killed, SimulatedLoop, current_process
from tests.histories.model import Model
from tests.histories.nodes import ClientNode, MinerNode, Node, ValidatorNode

BUCKET: Final = "hippy://bucket/"
NAMES: Final = ("a", "b", "dir/c", "dir/d")


class Violation(AssertionError):  # noqa: N818 - what it is, as a word of the tests
    """A promise was broken; says which, and what came before."""


@dataclass(slots=True)
class Trigger:
    """A crash at the Nth visit of a point by any node."""

    point: str
    visits_left: int
    loss: Loss
    away_seconds: float


@dataclass(slots=True)
class World:
    """Everything in one history."""

    seed: int
    loop: SimulatedLoop
    chance: random.Random
    miners: list[MinerNode]
    validator: ValidatorNode
    clients: list[ClientNode]
    model: Model = field(default_factory=Model)
    triggers: list[Trigger] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    visits: Counter[str] = field(default_factory=Counter)
    returning: set[asyncio.Task[None]] = field(default_factory=set)
    """Nodes that were killed and come back."""

    written: int = 0

    @property
    def nodes(self) -> list[Node]:
        """Every node of the network, and the clients."""
        return [self.validator, *self.miners, *self.clients]

    def say(self, what: str) -> None:
        """Note what happened."""
        self.log.append(f"{self.loop.time():9.3f}  {what}")

    def fail(self, what: str) -> NoReturn:
        """Raise the violation."""
        raise Violation(f"{what}\n" + "\n".join(self.log))

    def reached(self, point: str) -> None:
        """Be told of a point; ends the process that is there if a trigger says so."""
        process = current_process()
        if not process.is_alive:
            raise Killed
        node = next((node for node in self.nodes if node.process is process), None)
        if node is None:
            return
        self.visits[point] += 1
        for trigger in self.triggers:
            if trigger.point == point:
                trigger.visits_left -= 1
                if trigger.visits_left == 0:
                    self.kill(node, trigger.loss, trigger.away_seconds, f"at {point}")
                    raise Killed

    def kill(self, node: Node, loss: Loss, away_seconds: float, why: str) -> None:
        """End a node's process; a miner and the validator come back."""
        if not node.is_up:
            return
        self.say(f"{node.name} dies {why} ({loss.name})")
        node.kill(loss)
        if not isinstance(node, ClientNode):
            task = self.loop.start(OUTSIDE, self._return(node, loss, away_seconds))
            self.returning.add(task)
            task.add_done_callback(self.returning.discard)

    async def _return(self, node: Node, loss: Loss, away_seconds: float) -> None:
        await asyncio.sleep(away_seconds)
        while not node.is_up:
            try:
                await node.start()
            except HippyError as error:
                self.say(f"{node.name} does not start: {error.message}")
                node.kill(loss)
                await asyncio.sleep(1.0)
        self.say(f"{node.name} is back")


def check_read(world: World, name: str, began: int, found: bytes | None) -> None:
    """Check that a name may read as it did."""
    wrong = world.model.check(name, began, found)
    if wrong:
        world.fail(wrong)


def check_listing(world: World, began: int, listed: dict[str, int]) -> None:
    """Check that every name is listed, or not, as it may be, with a size that it may have."""
    ended = world.model.moment()
    for name in NAMES:
        register = world.model.register(name)
        allowed = register.allowed(began, ended)
        sizes = {None if content is None else len(content) for content in allowed}
        if listed.get(name) not in sizes:
            world.fail(f"{name} is listed with {listed.get(name)} bytes, allowed: {sizes}")
    if set(listed) - set(NAMES):
        world.fail(f"listed and never written: {set(listed) - set(NAMES)}")
