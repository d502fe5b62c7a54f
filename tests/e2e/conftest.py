"""One local network for the tests that only use it; those that break it start their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from hippy.clock import SystemClock
from hippy.net.plan import create_plan
from tests.e2e.local import Shell

ROUNDS: Final = 16
"""Blocks, and so beacon rounds, of the epochs of networks that are to be audited while a test waits."""


@pytest.fixture(scope="package")
def shared_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of 8 miners that tests leave as they found it."""
    with running(tmp_path_factory.mktemp("home"), 8) as shell:
        yield shell


@contextmanager
def running(home: Path, miners: int, *, epoch_seconds: float | None = None, validators: int = 1) -> Iterator[Shell]:
    """Run a network of so many miners in a home; ``epoch_seconds`` None leaves epochs as long as they are."""
    shell = Shell(home)
    if epoch_seconds is not None:
        asyncio.run(_plan(shell.net_dir, miners, epoch_seconds))
    shell.run("net", "up", "-d", "--miners", str(miners), "--validators", str(validators))
    try:
        yield shell
    finally:
        shell.stop()


async def _plan(directory: Path, miners: int, epoch_seconds: float) -> None:
    await create_plan(
        directory,
        miners=miners,
        validators=1,
        clock=SystemClock(),
        block_seconds=epoch_seconds / ROUNDS,
        tempo_blocks=ROUNDS,
    )
