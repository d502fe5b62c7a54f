"""One node of a local network as an operating-system process.

A node is what ``hippy miner run --with-parent`` is, forked from a process that has imported hippy (hippy.net.forking):
a process of its own with its own log, which a signal ends as it ends any other.

Its standard input is a pipe that ends with the supervisor. When that dies, even by SIGKILL, the kernel closes the pipe,
the node reads the end of it and stops (hippy.cli.running._stop_with_parent).
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal

from hippy.errors import TemporaryError, UsageError
from hippy.net.forking import context
from hippy.net.plan import NetworkPlan, NodePlan

STOP_SECONDS: Final = 5.0
"""From SIGTERM to SIGKILL."""

LOG_TAIL_BYTES: Final = 2_000
DEBUG: Final = "HIPPY_DEBUG"
"""The one variable of hippy's that a node inherits."""

State = Literal["running", "stopped", "killed", "failed"]


class NodeProcess:
    """Starts and ends one node. Its ``state`` says what we know of it."""

    def __init__(self, plan: NetworkPlan, node: NodePlan) -> None:
        self.node = node
        self.state: State = "stopped"
        self._plan = plan
        self._process: BaseProcess | None = None
        self._ended = asyncio.Event()
        self._expected_end = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.state == "running" else None

    async def start(self) -> None:
        """Start the process; the first waits until the fork server has imported what nodes need.

        Raises UsageError when it runs already, TemporaryError when no process can be had.
        """
        if self.state == "running":
            raise UsageError(f"{self.node.name} is running already", hint="hippy net status")
        arguments = (self.node.role, "run", "--config", str(self._plan.settings_file(self.node)), "--with-parent")
        process = context().Process(
            target=run_node,
            args=(arguments, self._plan.log_file(self.node)),
            name=self.node.name,
            daemon=True,  # so that one which was just starting when we were cancelled ends with us
        )
        try:
            await asyncio.to_thread(process.start)
        except (OSError, EOFError) as error:
            raise TemporaryError(f"{self.node.name} cannot be started: {error}") from None
        self._process = process
        self._ended = asyncio.Event()
        self._expected_end = False
        self.state = "running"
        asyncio.get_running_loop().add_reader(process.sentinel, _note_end, process, self._ended)

    async def watch(self) -> None:
        """Wait for the process to end and note how it did."""
        assert self._process is not None
        process = self._process
        await self._ended.wait()
        if process is self._process and self.state == "running":
            self.state = "stopped" if self._expected_end else "failed"

    async def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would.

        Raises UsageError when it does not run.
        """
        process = self._running()
        self.state = "killed"
        process.kill()
        await self._ended.wait()

    async def stop(self) -> None:
        """End the process with SIGTERM, and with SIGKILL when it does not listen; fine when it has ended."""
        if self.state != "running" or self._process is None:
            return
        self._expected_end = True
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._process.kill()
            await self._ended.wait()
        self.state = "stopped"

    def check_alive(self) -> None:
        """Raises TemporaryError with its last words when the process ended by itself."""
        if self.state == "failed":
            raise TemporaryError(
                f"{self.node.name} ended by itself: {self._last_words()}",
                hint=f"its log is {self._plan.log_file(self.node)}",
            )

    def _running(self) -> BaseProcess:
        if self.state != "running" or self._process is None:
            raise UsageError(f"{self.node.name} is not running ({self.state})")
        return self._process

    def _last_words(self) -> str:
        """Return the error its log ends with, else the last line."""
        data = self._plan.log_file(self.node).read_bytes()
        lines = data[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines() or ["it said nothing"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else lines[-1]


def _note_end(process: BaseProcess, ended: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(process.sentinel)
    process.join()
    ended.set()


def run_node(arguments: Sequence[str], log: Path) -> None:
    """Be the node that ``hippy`` with these arguments is; called in a process of its own."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    os.dup2(parent.sentinel, 0)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for name in os.environ.keys() - environment_of(os.environ).keys():
        del os.environ[name]
    with suppress(OSError):  # for those who look with ps or top; only Linux has it
        Path("/proc/self/comm").write_text(log.parent.name, encoding="utf-8")
    gc.freeze()  # what was imported stays: not looked through again, so the memory remains shared
    sys.argv = ["hippy", *arguments]
    runpy.run_module("hippy.cli", run_name="__main__")


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without hippy's variables, which would overrule every node's settings file."""
    return {name: value for name, value in given.items() if not name.startswith("HIPPY_") or name == DEBUG}
