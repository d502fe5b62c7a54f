"""The client's end-to-end tests once more, on a validator whose registry is on PostgreSQL and served by two at once.

Clients reach one of them and the other in turn, so that what one wrote is read from the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hippy.endpoint import Endpoint
from hippy.validator.server import run_validator
from hippy.validator.settings import ValidatorSettings
from tests.client.network import CLOCK, Network
from tests.e2e import test_client_roundtrip as roundtrip
from tests.postgres.server import fresh_schema, some_server

pytestmark = pytest.mark.postgres

globals().update({name: test for name, test in vars(roundtrip).items() if name.startswith("test_")})
network, client = roundtrip.network, roundtrip.client


class PostgresNetwork(Network):
    """A network whose validator has its registry on PostgreSQL."""

    def __init__(self, folder: Path, registry: str) -> None:
        super().__init__(folder)
        self._registry = registry
        self._settings: ValidatorSettings | None = None

    def _validator_settings(self) -> ValidatorSettings:
        if self._settings is None:  # it makes a key
            self._settings = super()._validator_settings().model_copy(update={"registry": self._registry})
        return self._settings


class SharedNetwork(PostgresNetwork):
    """One with two validators that are one: one hotkey, one registry. Each look at the credentials names the other."""

    def __init__(self, folder: Path, registry: str) -> None:
        super().__init__(folder, registry)
        self._endpoints: list[Endpoint] = []
        self._turns = count()

    async def _start(self) -> None:
        await super()._start()
        first = self.credentials.validator_endpoint
        ready: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        settings = self._validator_settings().model_copy(update={"publish_port": first.port})
        self._second = asyncio.create_task(run_validator(settings, clock=CLOCK, ready=ready.set_result))
        self._endpoints = [first, await asyncio.wait_for(ready, 20)]

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in ("credentials", "poor_credentials") and self._endpoints:
            return replace(value, validator_endpoint=self._endpoints[next(self._turns) % 2])
        return value


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with some_server() as url:
        yield url


@pytest.fixture(scope="module")
def running_network(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with (
        fresh_schema(server_url) as registry,
        SharedNetwork(tmp_path_factory.mktemp("network"), registry).started() as network,
    ):
        yield network


@pytest.fixture
def own_network(server_url: str, tmp_path: Path) -> Iterator[Network]:
    """A network for tests after which the validator thinks badly of some miner; one process, for it is its opinion."""
    with fresh_schema(server_url) as registry, PostgresNetwork(tmp_path / "network", registry).started() as network:
        yield network
