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
from typing import Final

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, HippyError, TemporaryError
from hippy.identity import load_keyfile
from hippy.net.plan import LOCK_FILE, NetworkPlan, NodePlan
from hippy.net.process import NodeProcess, State
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.wire.node import DIRECTORY_BYTES_MAX, Directory

READY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


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

        Raises UsageError when there is no such node or it runs.
        """
        process = self._process(name)
        await process.start()
        watcher = asyncio.create_task(process.watch(), name=f"watch {name}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def start_all(self) -> None:
        """Start every node."""
        for name in self._processes:
            await self.start(name)

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
        """Wait until every validator's directory shows every running miner live.

        Raises TemporaryError when a node ends by itself or it takes too long.
        """
        deadline = self._clock.now() + READY_SECONDS
        waiting = {node.name for node in self.plan.of_role("validator")}
        while waiting:
            for process in self._processes.values():
                process.check_alive()
            waiting = {name for name in waiting if not await self._is_complete(name)}
            if self._clock.now() > deadline:
                raise TemporaryError(f"the network was not complete within {READY_SECONDS:.0f} s")
            if waiting:
                await self._clock.sleep(POLL_SECONDS)
        self.ready = True

    async def _is_complete(self, validator: str) -> bool:
        node = self.plan.node(validator)
        hotkey = load_keyfile(self.plan.hotkey_file(node)).public_key
        call = Call("GET", "/v1/miners", answer_bytes_max=DIRECTORY_BYTES_MAX, deadline_seconds=5.0)
        try:
            directory = await self._http.message(Peer(node.endpoint, hotkey), call, Directory)
        except HippyError:
            return False  # not up yet; a node that ended is found by check_alive
        running = [p for p in self._processes.values() if p.node.role == "miner" and p.state == "running"]
        live = {str(miner.endpoint) for miner in directory.miners if miner.state == "live"}
        return all(str(process.node.endpoint) in live for process in running)

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
