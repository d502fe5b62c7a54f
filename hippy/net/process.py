"""One node of a local network as an operating-system process.

A child gets a pipe as its standard input that nobody writes to. When the supervisor dies, even by SIGKILL, the
kernel closes the pipe, the child reads the end of it and stops (hippy.cli.running._stop_with_parent). Its output
goes to its log file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final, Literal

from hippy.errors import TemporaryError, UsageError
from hippy.net.plan import NetworkPlan, NodePlan

STOP_SECONDS: Final = 5.0
"""From SIGTERM to SIGKILL."""

LOG_TAIL_BYTES: Final = 2_000
DEBUG: Final = "HIPPY_DEBUG"
"""The one variable of hippy's that a node inherits."""

_NO_CERTIFICATES: Final = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""aiohttp loads the system's certificates when it is imported: 60 of 450 ms a process, for plain HTTP on loopback."""

State = Literal["running", "stopped", "killed", "failed"]


class NodeProcess:
    """Starts and ends one node. Its ``state`` says what we know of it."""

    def __init__(self, plan: NetworkPlan, node: NodePlan) -> None:
        self.node = node
        self.state: State = "stopped"
        self._plan = plan
        self._process: Process | None = None
        self._expected_end = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.state == "running" else None

    async def start(self) -> None:
        """Start the process.

        Raises UsageError when it runs already.
        """
        if self.state == "running":
            raise UsageError(f"{self.node.name} is running already", hint="hippy net status")
        settings = str(self._plan.settings_file(self.node))
        command = [sys.executable, "-m", "hippy.cli", self.node.role, "run", "--config", settings, "--with-parent"]
        with self._plan.log_file(self.node).open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=log, stderr=log, env=_environment()
            )
        self._expected_end = False
        self.state = "running"

    async def watch(self) -> None:
        """Wait for the process to end and note how it did."""
        assert self._process is not None
        process = self._process
        await process.wait()
        if process is self._process and self.state == "running":
            self.state = "stopped" if self._expected_end else "failed"

    async def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would.

        Raises UsageError when it does not run.
        """
        process = self._running()
        self.state = "killed"
        process.kill()
        await process.wait()

    async def stop(self) -> None:
        """End the process with SIGTERM, and with SIGKILL when it does not listen; fine when it has ended."""
        if self.state != "running" or self._process is None:
            return
        self._expected_end = True
        process = self._process
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except ProcessLookupError:
            pass
        except TimeoutError:
            process.kill()
            await process.wait()
        self.state = "stopped"

    def check_alive(self) -> None:
        """Raises TemporaryError with its last words when the process ended by itself."""
        if self.state == "failed":
            raise TemporaryError(
                f"{self.node.name} ended by itself: {self._last_words()}",
                hint=f"its log is {self._plan.log_file(self.node)}",
            )

    def _running(self) -> Process:
        if self.state != "running" or self._process is None:
            raise UsageError(f"{self.node.name} is not running ({self.state})")
        return self._process

    def _last_words(self) -> str:
        """Return the error its log ends with, else the last line."""
        data = self._plan.log_file(self.node).read_bytes()
        lines = data[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines() or ["it said nothing"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else lines[-1]


def _environment() -> dict[str, str]:
    """Return our environment without hippy's variables, which would overrule every node's settings file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HIPPY_") or name == DEBUG}
    return {**kept, **_NO_CERTIFICATES}
