"""The database of the validator's tests: the real one, in a directory of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from socket import socket

import pytest

from hippy.kv import Database, open_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "registry") as opened:
        yield opened


@pytest.fixture
def unused_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
