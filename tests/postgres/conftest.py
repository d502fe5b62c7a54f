"""One server for the tests of a process, and an empty database on it for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from hippy.postgres.database import PostgresDatabase, open_postgres
from tests.postgres.server import OwnServer, fresh_schema, own_server, some_server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server that tests leave as it is."""
    with some_server() as url:
        yield url


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    """An empty place on the server."""
    with fresh_schema(server_url) as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    """An empty database on the server."""
    async with open_postgres(url) as database:
        yield database


@pytest.fixture(scope="module")
def mortal() -> Iterator[OwnServer]:
    """A server that tests may end; they leave it running."""
    with own_server() as server:
        yield server
