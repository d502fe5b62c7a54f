"""A real network for commands, in a thread of this process, and a way to run them against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hippy.cli.outcome import run_command_line
from hippy.client.home import Credentials, find_home, save_credentials
from tests.client.network import Network


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def hint(self) -> str:
        """What the error says to do next."""
        (hint,) = [line for line in self.err.splitlines() if line.startswith("hint: ")]
        return hint.removeprefix("hint: ")


Command = Callable[..., Done]


@pytest.fixture(scope="package")
def running_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("network")).started() as network:
        yield network


@pytest.fixture
def network(running_network: Network) -> Iterator[Network]:
    yield running_network
    running_network.revive()


@pytest.fixture
def log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Credentials], None]:
    """Have commands act under credentials, in a home of this test's own."""

    def use(credentials: Credentials) -> None:
        home = tmp_path / f"home-{credentials.account.hex()[:8]}"
        monkeypatch.setenv("HIPPY_HOME", str(home))
        monkeypatch.delenv("HIPPY_NET", raising=False)
        monkeypatch.delenv("HIPPY_DEBUG", raising=False)
        if not find_home().credentials.exists():
            save_credentials(find_home().credentials, credentials)

    return use


@pytest.fixture
def hippy(
    network: Network,
    log_in: Callable[[Credentials], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command line as the account that has room."""
    log_in(network.credentials)

    def run(*args: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["hippy", *map(str, args)])
        capsys.readouterr()
        code = run_command_line()
        told = capsys.readouterr()
        return Done(code, told.out, told.err)

    return run
