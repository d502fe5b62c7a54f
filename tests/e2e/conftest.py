"""One local network for the tests that only use it; those that break it start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.local import Shell

StartNetwork = Callable[[int], Shell]


@pytest.fixture(scope="session")
def shared_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of 8 miners that tests leave as they found it."""
    shell = Shell(tmp_path_factory.mktemp("home"))
    shell.run("net", "up", "-d", "--miners", "8")
    yield shell
    shell.stop()


@pytest.fixture
def start_network(tmp_path: Path) -> Iterator[StartNetwork]:
    """Start a network of so many miners; it is stopped at the end."""
    started: list[Shell] = []

    def start(miners: int) -> Shell:
        shell = Shell(tmp_path / "home")
        shell.run("net", "up", "-d", "--miners", str(miners))
        started.append(shell)
        return shell

    yield start
    for shell in started:
        shell.stop()
