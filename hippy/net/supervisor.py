"""Runs all nodes of a local network for as long as its context is open.

::

    async with supervising(plan, clock=SystemClock()) as supervisor:
        await supervisor.wait_ready()
        await supervisor.kill("miner3")

Leaving the context ends every process. Nodes that fail are reported, not restarted: this network is for
trying failures out.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, HippyError, TemporaryError
from hippy.identity import load_keyfile
from hippy.net.forking import prepare
from hippy.net.plan import LOCK_FILE, NetworkPlan, NodePlan, Role
from hippy.net.process import NodeProcess, State
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.wire.canonical import Message
from hippy.wire.node import DIRECTORY_BYTES_MAX, Directory
from hippy.wire.status import STATUS_BYTES_MAX, NetworkStatus
from hippy.wire.validators import VALIDATORS_BYTES_MAX, Validators

READY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
ASK_SECONDS: Final = 5.0

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One line of ``hippy net status``."""

    name: str
    role: str
    endpoint: str
    state: State
    pid: int | None
    admin: str | None = None
    """Where it says how it is."""


class Supervisor:
    """Owns the node processes; made by :func:`supervising`."""

    def __init__(self, plan: NetworkPlan, http: Http, clock: Clock) -> None:
        self.plan = plan
        self.ready = False
        self._watchers: set[asyncio.Task[None]] = set()
        self._http = http
        self._clock = clock
        self._processes = {node.name: NodeProcess(plan, node) for node in plan.nodes}

    async def start(self, name: str) -> None:
        """Start one node.

        Raises UsageError when there is no such node or it runs, TemporaryError when no process can be had.
        """
        process = self._process(name)
        await process.start()
        watcher = asyncio.create_task(process.watch(), name=f"watch {name}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def start_all(self) -> None:
        """Start every node; miners first, since a validator looks for them when it starts and then once a probe."""
        for role in ("miner", "validator"):
            for node in self.plan.of_role(role):
                await self.start(node.name)

    async def kill(self, name: str) -> None:
        """End one node with SIGKILL.

        Raises UsageError when there is no such node or it does not run.
        """
        await self._process(name).kill()

    async def stop_all(self) -> None:
        """End every node."""
        await asyncio.gather(*(process.stop() for process in self._processes.values()))
        await asyncio.gather(*self._watchers)

    def status(self) -> list[NodeStatus]:
        """Return what is known of every node, validators first."""
        return [
            NodeStatus(node.name, node.role, str(node.endpoint), process.state, process.pid, _admin(node))
            for node, process in ((process.node, process) for process in self._processes.values())
        ]

    async def wait_ready(self) -> None:
        """Wait until every running validator shows every running miner, and every other running validator, live.

        Raises TemporaryError when a node ends by itself or it takes too long.
        """
        deadline = self._clock.now() + READY_SECONDS
        waiting = {process.node.name for process in self._running("validator")}
        while waiting:
            for process in self._processes.values():
                process.check_alive()
            waiting = {name for name in waiting if not await self._is_complete(name)}
            if self._clock.now() > deadline:
                raise TemporaryError(f"the network was not complete within {READY_SECONDS:.0f} s")
            if waiting:
                await self._clock.sleep(POLL_SECONDS)
        self.ready = True

    async def behind(self) -> dict[str, int]:
        """Return of each running validator how many records of others' logs it knows of and has not."""
        call = Call("GET", "/v1/status", answer_bytes_max=STATUS_BYTES_MAX, deadline_seconds=ASK_SECONDS)
        names = [process.node.name for process in self._running("validator")]
        told = await asyncio.gather(*(self._ask(name, call, NetworkStatus) for name in names))
        return {
            name: sum(each.log.behind for each in status.validators if each.log is not None)
            for name, status in zip(names, told, strict=True)
            if status is not None
        }

    async def _is_complete(self, validator: str) -> bool:
        miners = Call("GET", "/v1/miners", answer_bytes_max=DIRECTORY_BYTES_MAX, deadline_seconds=ASK_SECONDS)
        validators = Call("GET", "/v1/validators", answer_bytes_max=VALIDATORS_BYTES_MAX, deadline_seconds=ASK_SECONDS)
        directory = await self._ask(validator, miners, Directory)
        others = await self._ask(validator, validators, Validators)
        if directory is None or others is None:
            return False  # not up yet; a node that ended is found by check_alive
        live = {str(each.endpoint) for each in directory.miners if each.state == "live"}
        live |= {str(each.endpoint) for each in others.validators if each.state == "live"}
        running = [*self._running("miner"), *self._running("validator")]
        return all(str(process.node.endpoint) in live for process in running)

    async def _ask(self, validator: str, call: Call, kind: type[M]) -> M | None:
        """Return what a validator answers, None where it does not."""
        node = self.plan.node(validator)
        hotkey = load_keyfile(self.plan.hotkey_file(node)).public_key
        try:
            return await self._http.message(Peer(node.endpoint, hotkey), call, kind)
        except HippyError:
            return None

    def _running(self, role: Role) -> list[NodeProcess]:
        return [each for each in self._processes.values() if each.node.role == role and each.state == "running"]

    def _process(self, name: str) -> NodeProcess:
        return self._processes[self.plan.node(name).name]


def _admin(node: NodePlan) -> str | None:
    return None if node.admin_port is None else str(Endpoint(node.host, node.admin_port))


@asynccontextmanager
async def supervising(plan: NetworkPlan, *, clock: Clock) -> AsyncIterator[Supervisor]:
    """Start all nodes; end them when the context is left, however it is left.

    Raises ConfigError when another supervisor runs this network.
    """
    with _locked(plan.directory):
        prepare()
        async with open_http(None, clock) as http:
            supervisor = Supervisor(plan, http, clock)
            try:
                await supervisor.start_all()
                yield supervisor
            finally:
                await asyncio.shield(supervisor.stop_all())


def is_supervised(directory: Path) -> bool:
    """Return whether a supervisor runs the network in ``directory``, or is still ending it."""
    if not (directory / LOCK_FILE).exists():
        return False  # the lock's file is not made to look at it: the directory may be somebody else's
    try:
        with _locked(directory):
            return False
    except ConfigError:
        return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the network's lock; the kernel lets go of it when this process dies."""
    with (directory / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"the network in {directory} runs already", hint="hippy net status") from None
        yield
