"""A daemon as a process: ready when ready, a graceful stop, and an end at once when asked twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import pytest

SERVER = """
import asyncio, sys
from aiohttp import web
from hippy.cli import running
from hippy.cli.node import _say_ready
from hippy.transport.server import Route, build_app, serving

async def slow(request):
    print("asked", flush=True)
    await asyncio.sleep(0.5)
    return web.Response(text="finished")

async def serve():
    async with serving(build_app([Route("GET", "/slow", slow)]), "127.0.0.1", 0) as endpoint:
        print(endpoint, flush=True)
        _say_ready(endpoint)
        await asyncio.Event().wait()

running.run_daemon(serve(), with_parent=False)
print("closed", flush=True)
"""

STUBBORN = """
import asyncio, sys
from hippy.cli import running

async def serve():
    print("started", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("stopping", flush=True)
        await asyncio.sleep(600)

running.STOP_SECONDS = float(sys.argv[1])
running.run_daemon(serve(), with_parent=False)
"""


@contextmanager
def started(script: str, *args: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended by its id whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def heard_now(manager: socket.socket) -> bytes:
    """What the manager hears before its patience ends; nothing after."""
    try:
        return manager.recv(4096)
    except TimeoutError:
        return b""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


def test_the_manager_hears_of_start_and_end_and_requests_under_way_finish(
    manager: socket.socket, tmp_path: Path
) -> None:
    with started(SERVER, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
        endpoint = line(process)
        assert manager.recv(4096).decode() == f"READY=1\nSTATUS=listening on {endpoint}"
        with closing(socket.create_connection((endpoint.rpartition(":")[0], int(endpoint.rpartition(":")[2])))) as peer:
            peer.settimeout(20)
            peer.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line(process) == "asked"
            process.send_signal(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"
            assert peer.recv(65536).endswith(b"finished")
        assert line(process) == "closed"
        assert process.wait(20) == 0


def test_the_watchdog_hears_of_a_loop_that_turns_until_it_stops(manager: socket.socket, tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    with started(SERVER, **variables) as process:
        heard = [manager.recv(4096) for _ in range(6)]
        assert heard.count(b"WATCHDOG=1") == 5
        process.send_signal(signal.SIGSTOP)  # as a loop that is stuck
        manager.settimeout(0.5)
        assert len(list(islice(iter(lambda: heard_now(manager), b""), 6))) < 6  # what was under way already


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with started(STUBBORN, "600") as process:
        assert line(process) == "started"
        process.send_signal(number)
        assert line(process) == "stopping"
        process.send_signal(number)
        assert process.wait(20) == 128 + number


def test_a_daemon_that_does_not_stop_is_ended_and_says_so() -> None:
    with started(STUBBORN, "0.2") as process:
        assert line(process) == "started"
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        _, told = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "not stopped within" in told
        assert time.monotonic() - begun < 15
