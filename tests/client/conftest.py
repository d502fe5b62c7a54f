"""One network for the tests of a module; what a test breaks is whole again for the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.network import Network


@pytest.fixture(scope="package")
def running_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("network")).started() as network:
        yield network


@pytest.fixture
def network(running_network: Network) -> Iterator[Network]:
    yield running_network
    running_network.revive()
