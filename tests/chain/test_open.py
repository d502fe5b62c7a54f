"""A network's name opens its chain; what replaces the SDK's way there is refused where it matters."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("bittensor")

from hippy.chain.cached import CachedChain
from hippy.chain.local import LocalChain
from hippy.chain.open import CHAIN_FILE, SUBSTRATE_VARIABLE, open_chain
from hippy.errors import ConfigError
from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.testing.clock import VirtualClock
from hippy.testing.substrate import MemoryChain, MemorySubstrate

MEMORY = MemoryChain()
ASKED: list[str] = []
LOOPBACK = "ws://127.0.0.1:1"


def substrate(endpoint: str) -> MemorySubstrate:
    """What HIPPY_CHAIN_SUBSTRATE names in these tests."""
    ASKED.append(endpoint)
    return MEMORY.substrate()


async def test_a_local_network_is_its_file(tmp_path: Path) -> None:
    clock = VirtualClock()
    LocalChain.create(tmp_path / CHAIN_FILE, clock=clock, network=NetworkId(b"n" * 32), genesis_secret=b"s" * 32)
    async with open_chain(f"local:{tmp_path}", 1, identity=None, clock=clock, environment={}) as chain:
        assert isinstance(chain, LocalChain)
        assert chain.network == b"n" * 32


async def test_a_bittensor_network_is_asked_seldom_and_through_the_named_substrate() -> None:
    environment = {SUBSTRATE_VARIABLE: f"{__name__}:substrate"}
    identity = Identity.from_seed(b"\1" * 32)
    async with open_chain(LOOPBACK, 7, identity=identity, clock=VirtualClock(), environment=environment) as chain:
        assert isinstance(chain, CachedChain)
        assert chain.netuid == 7
        assert chain.is_local
    assert ASKED == [LOOPBACK]


@pytest.mark.parametrize(
    "network", ["finney", "test", "wss://entrypoint-finney.opentensor.ai:443", "ws://192.0.2.1:9944"]
)
def test_chains_elsewhere_are_reached_by_the_sdk_alone(network: str) -> None:
    with pytest.raises(ConfigError, match="refused"):
        open_chain(
            network, 7, identity=None, clock=VirtualClock(), environment={SUBSTRATE_VARIABLE: f"{__name__}:substrate"}
        )


@pytest.mark.parametrize("name", ["nothing", "no.such.module:x", f"{__name__}:absent", ":x"])
def test_a_name_of_nothing_is_a_mistake(name: str) -> None:
    with pytest.raises(ConfigError, match="names nothing"):
        open_chain(LOOPBACK, 7, identity=None, clock=VirtualClock(), environment={SUBSTRATE_VARIABLE: name})


def test_an_unknown_network_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="unknown network"):
        open_chain("mainnet", 1, identity=None, clock=VirtualClock())
