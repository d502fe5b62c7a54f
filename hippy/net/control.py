"""How ``hippy net status | kill | start | down`` talk to a running supervisor.

A Unix socket that only its owner can open takes one JSON line ``{"command": …, "node": …}`` and answers one:
``{"ok": …}`` or ``{"error": {code, message, hint}}``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from hippy.errors import ConfigError, DeadlineError, HippyError, ProtocolError, UsageError, from_wire
from hippy.net.supervisor import Supervisor

LINE_BYTES_MAX: Final = 256 * 1024
REQUEST_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 90.0
SOCKET_PATH_MAX: Final = 100
"""Unix socket paths end at 104 (macOS) or 108 bytes; longer ones move to the temporary directory."""


def socket_path(directory: Path) -> Path:
    """Return where the supervisor of the network in ``directory`` listens."""
    near = directory.resolve() / "control.sock"
    if len(os.fsencode(near)) <= SOCKET_PATH_MAX:
        return near
    name = hashlib.sha256(os.fsencode(near)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hippy-{os.getuid()}-{name}.sock"


class ControlServer:
    """Answers commands for a supervisor; ``down`` is set when somebody asked to stop."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.down = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            reply: dict[str, Any] = {"ok": await self._run(line)}
        except HippyError as error:
            reply = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        except (TimeoutError, ValueError, KeyError, TypeError, ConnectionError):
            writer.close()
            return
        writer.write(json.dumps(reply).encode() + b"\n")
        writer.close()

    async def _run(self, line: bytes) -> Any:
        request = json.loads(line)
        command, node = request["command"], request.get("node")
        match command:
            case "status":
                behind = await self._supervisor.behind()
                nodes = [{**asdict(each), "behind": behind.get(each.name)} for each in self._supervisor.status()]
                return {"ready": self._supervisor.ready, "supervisor_pid": os.getpid(), "nodes": nodes}
            case "kill":
                return await self._supervisor.kill(str(node))
            case "start":
                await self._supervisor.start(str(node))
                return await self._supervisor.wait_ready()
            case "down":
                return self.down.set()
            case _:
                raise UsageError(f"unknown command {command!r}")


@asynccontextmanager
async def controlled(supervisor: Supervisor) -> AsyncIterator[ControlServer]:
    """Listen for commands while the context is open."""
    path = socket_path(supervisor.plan.directory)
    path.unlink(missing_ok=True)  # left by a supervisor that was killed; the lock says it is gone
    control = ControlServer(supervisor)
    server = await asyncio.start_unix_server(control.answer, path, limit=LINE_BYTES_MAX)
    path.chmod(0o600)
    try:
        async with server:
            yield control
    finally:
        path.unlink(missing_ok=True)


async def command(directory: Path, name: str, node: str | None = None) -> Any:
    """Send one command to the network in ``directory`` and return its answer.

    Raises ConfigError when none runs there, and what the supervisor answered.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket_path(directory), limit=LINE_BYTES_MAX)
            writer.write(json.dumps({"command": name, "node": node}).encode() + b"\n")
            line = await reader.readline()
            writer.close()
    except (FileNotFoundError, ConnectionError):
        raise ConfigError(f"no network runs in {directory}", hint="hippy net up -d") from None
    except TimeoutError:
        raise DeadlineError("the network's supervisor does not answer") from None
    return _result(line)


def _result(line: bytes) -> Any:
    if not line:
        raise ProtocolError("the network's supervisor closed the connection")
    reply = json.loads(line)
    if "error" in reply:
        raise from_wire(**reply["error"])
    return reply["ok"]
