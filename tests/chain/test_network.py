"""A network's name says where its chain is, and whether that is this machine."""

from __future__ import annotations

import pytest

from hippy.chain.network import BittensorNetwork, LocalNetwork, parse_network
from hippy.errors import ConfigError


def test_a_local_network_is_its_directory() -> None:
    assert parse_network("local:some/dir:x") == LocalNetwork("some/dir:x")


@pytest.mark.parametrize("name", ["finney", "test"])
def test_bittensors_networks_are_public(name: str) -> None:
    network = parse_network(name)
    assert network == BittensorNetwork(name, loopback=False)
    assert isinstance(network, BittensorNetwork)
    assert network.is_public


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9944", "ws://127.9.9.9", "wss://[::1]:1", "ws://localhost:9944"])
def test_an_endpoint_on_this_machine_is_recognised(url: str) -> None:
    assert parse_network(url) == BittensorNetwork(url, loopback=True)


@pytest.mark.parametrize(
    "url", ["wss://chain.example:443", "ws://10.0.0.1:9944", "ws://localhost.example", "ws://1.2.3.4"]
)
def test_any_other_endpoint_is_not(url: str) -> None:
    network = parse_network(url)
    assert network == BittensorNetwork(url, loopback=False)
    assert isinstance(network, BittensorNetwork)
    assert not network.is_public


@pytest.mark.parametrize(
    "text",
    ["", "local:", "local", "mainnet", "http://x", "ws://", "ws://:9944", "ws://x:99999", "ws://u:p@x", "ws://[::1"],
)
def test_anything_else_is_a_mistake_that_names_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_network(text)
    assert "finney" in str(raised.value.hint)
