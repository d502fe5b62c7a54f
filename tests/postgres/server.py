"""PostgreSQL servers for tests: thrown away afterwards, on a Unix socket in a directory of their own.

``HIPPY_POSTGRES_URL`` names one that runs already instead (its user may create schemas); tests that stop the server are
skipped then. Without a URL and without PostgreSQL's programs all are skipped, and say so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import pytest

from hippy.errors import HippyError
from hippy.postgres.session import Server, Session

URL_VARIABLE: Final = "HIPPY_POSTGRES_URL"
START_SECONDS: Final = 30.0
USER: Final = "hippy"

T = TypeVar("T")

_numbers: Final = count(1)


@dataclass(slots=True)
class OwnServer:
    """A server that a test may stop, kill and start again."""

    folder: Path
    programs: Path
    as_user: tuple[str, ...]
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://{USER}@/postgres?host={self.folder}"

    def make(self) -> None:
        """Make the directory of a new server."""
        self._run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            *self.as_user,
            str(self.programs / "postgres"),
            *("-D", str(self.data), "-k", str(self.folder), "-c", "listen_addresses=", "-c", "max_connections=60"),
            *self.options,
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT at once but in order, SIGQUIT as a crash would."""
        if self.process is not None:
            self._signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def restart(self, number: signal.Signals = signal.SIGINT) -> None:
        self.stop(number)
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def _answers(self) -> bool:
        try:
            run_script(self.url, "SELECT 1")
        except HippyError:
            return False
        return True

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self.as_user, str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def own_server(*options: str) -> Iterator[OwnServer]:
    """Run a server that the test may end; skips where there is none to run."""
    if os.environ.get(URL_VARIABLE):
        pytest.skip(f"{URL_VARIABLE} names a server, and this test ends one")
    programs, as_user = _programs(), _as_user()
    folder = Path(tempfile.mkdtemp(prefix="hippy-postgres-"))  # short: a socket's path has 107 bytes at most
    if as_user:
        shutil.chown(folder, "postgres")
    server = OwnServer(folder, programs, as_user, options)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


@contextmanager
def some_server() -> Iterator[str]:
    """Give the address of a server that the test leaves as it is."""
    if url := os.environ.get(URL_VARIABLE):
        yield url
    else:
        with own_server() as server:
            yield server.url


@contextmanager
def fresh_schema(server_url: str) -> Iterator[str]:
    """Give the address of an empty place for tables, which is removed afterwards."""
    name = f"hippy_test_{os.getpid()}_{next(_numbers)}"
    run_script(server_url, f"CREATE SCHEMA {name}")
    try:
        yield f"{server_url}{'&' if '?' in server_url else '?'}search_path={name}"
    finally:
        run_script(server_url, f"SET lock_timeout = '10s'; DROP SCHEMA {name} CASCADE")


def run_script(url: str, script: str) -> None:
    """Run statements on a connection of their own."""
    with_session(url, lambda session: session.begin(script))


def with_session(url: str, work: Callable[[Session], T]) -> T:
    """Do something with a connection, in a thread of its own: the test's may have a running loop."""

    def run() -> T:
        session = Session(Server(url))
        try:
            return work(session)
        finally:
            session.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def _programs() -> Path:
    """Return the directory of PostgreSQL's server programs, as distributions place it; skips where there is none."""
    found = [Path(path).resolve().parent for name in ("postgres",) if (path := shutil.which(name))]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    found += sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return pytest.skip(f"there is no PostgreSQL server on this machine, and {URL_VARIABLE} names none")


def _as_user() -> tuple[str, ...]:
    """Return what makes a command run as somebody whom PostgreSQL does not refuse, as it does root."""
    if os.geteuid() != 0:
        return ()
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres here")
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv here")
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
