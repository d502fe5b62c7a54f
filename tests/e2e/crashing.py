"""Nodes of a local network that die at a chosen point or instant, and what must be true of the network then."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hippy.client import Client
from hippy.client.home import load_credentials, network_credentials
from hippy.errors import ConflictError, NotFoundError, QuotaError, TemporaryError
from hippy.net.control import command
from hippy.net.plan import NetworkPlan, load_plan
from hippy.points import CRASH_VARIABLE
from tests.e2e.local import Shell
from tests.e2e.processes import wait_until
from tests.histories.model import Model, Write

CODE: Final = "2/4"
NAMES: Final = ("a", "b", "c", "d")
BUCKET: Final = "hippy://crashes/"
START_SECONDS: Final = 20.0
OPERATIONS_MAX: Final = 60
"""Calls after which a point has to have been reached."""


class Crashes:
    """One network, what was stored in it, and the ways to end its nodes."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.plan = _plan(shell)
        self.model = Model()
        self.chance = random.Random(6)
        self._client = Client(load_credentials(network_credentials(shell.net_dir)), profile=CODE)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def node_dies_at(self, name: str, point: str, visit: int = 1) -> None:
        """Run a node that ends at a point, use the network until it does, and start it again."""
        with self.own_process(name, {CRASH_VARIABLE: f"{point}:{visit}"}) as process:
            for _ in range(OPERATIONS_MAX):
                self.do_something()
                if process.poll() is not None:
                    break
            else:
                raise AssertionError(f"{name} never reached {point}")
            assert process.returncode == -9, f"{name} ended with {process.returncode}"

    def node_dies_in(self, name: str, seconds: float) -> None:
        """Kill a node after ``seconds`` of use, and start it again."""
        with self.own_process(name, {}) as process:
            killer = threading.Timer(seconds, process.kill)
            killer.start()
            while process.poll() is None:
                self.do_something()
            killer.join()

    def client_dies_at(self, point: str, target: Path) -> None:
        """Have a command of the client's end at a point."""
        name, content = self.chance.choice(NAMES), self._content(large=True)
        is_get = point.startswith("client.file")
        if is_get:
            self._put(name, content)
            arguments: list[str | Path] = ["get", BUCKET + name, target]
        else:
            source = target.with_name("source")
            source.write_bytes(content)
            arguments = ["put", source, BUCKET + name, "--ec", CODE]
            write = self.model.begin(name, content)
        done = subprocess.run(
            [sys.executable, "-m", "hippy.cli", *map(str, arguments)],
            env={**self.shell.environment(), CRASH_VARIABLE: point},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -9, (point, done.returncode, done.stderr.decode())
        if is_get:
            assert not target.exists() or target.read_bytes() == content
        else:
            self.model.failed(write)

    def do_something(self) -> None:
        """Put, overwrite, delete or get something, and note what it came to."""
        chance, name = self.chance, self.chance.choice(NAMES)
        kind = chance.choice(("put", "put", "put", "delete", "get"))
        if kind == "put":
            self._put(name, self._content(large=chance.random() < 0.8))
        elif kind == "delete":
            self._delete(name)
        else:
            self._get(name, is_whole=False)

    def must_put(self, size: int) -> None:
        """Put something, which has to succeed."""
        name, content = self.chance.choice(NAMES), os.urandom(size)
        write = self.model.begin(name, content)
        self._client.put(content, BUCKET + name)
        self.model.acknowledged(write)

    def check_everything(self) -> None:
        """Check that every name reads as it may, now that all nodes run, and that nothing half done is left."""
        for name in NAMES:
            self._get(name, is_whole=True)
        for node in self.plan.of_role("miner"):
            incoming = self.plan.data_dir(node) / "incoming"
            wait_until(lambda: not any(incoming.iterdir()), seconds=10, what=f"{incoming} is empty")  # noqa: B023

    def _put(self, name: str, content: bytes) -> None:
        write = self.model.begin(name, content)
        self._write(name, write, lambda: self._client.put(content, BUCKET + name))

    def _delete(self, name: str) -> None:
        began, write = self.model.moment(), self.model.begin(name, None)
        try:
            self._write(name, write, lambda: self._client.delete(BUCKET + name))
        except NotFoundError:
            self.model.refused(name, write)
            self._found(name, began, None)

    def _write(self, name: str, write: Write, work: Callable[[], object]) -> None:
        try:
            work()
        except QuotaError:
            self.model.refused(name, write)
        except (TemporaryError, ConflictError):
            self.model.failed(write)
        else:
            self.model.acknowledged(write)

    def _get(self, name: str, *, is_whole: bool) -> None:
        began = self.model.moment()
        try:
            found: bytes | None = self._client.get(BUCKET + name)
        except NotFoundError:
            found = None
        except TemporaryError as error:
            if is_whole:
                raise AssertionError(f"{name} cannot be read though all nodes run: {error}") from error
            return
        self._found(name, began, found)

    def _found(self, name: str, began: int, found: bytes | None) -> None:
        wrong = self.model.check(name, began, found)
        assert wrong is None, wrong

    def _content(self, *, large: bool) -> bytes:
        return os.urandom(self.chance.choice((5_000, 40_000, 300_000)) if large else 60)

    @contextmanager
    def own_process(self, name: str, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a node outside of the supervisor; at the end the supervisor runs it again."""
        node = self.plan.node(name)
        self._command("kill", name)
        with self.plan.log_file(node).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hippy.cli", node.role, "run", "--config", self.plan.settings_file(node)],
                env={**self.shell.environment(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_for(name, process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._command("start", name)
        self._wait_for(name)

    def _command(self, what: str, name: str) -> None:
        asyncio.run(command(self.shell.net_dir, what, name))

    def _wait_for(self, name: str, process: subprocess.Popen[bytes] | None = None) -> None:
        endpoint = self.plan.node(name).endpoint

        def answers() -> bool:
            if process is not None and process.poll() is not None:
                return True  # it ended at once, as it may have been told
            try:
                socket.create_connection((endpoint.host, endpoint.port), timeout=1.0).close()
            except OSError:
                return False
            return True

        wait_until(answers, seconds=START_SECONDS, what=f"{name} answers")


def _plan(shell: Shell) -> NetworkPlan:
    plan = load_plan(shell.net_dir)
    assert plan is not None
    return plan
