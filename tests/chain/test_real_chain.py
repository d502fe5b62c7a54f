"""SubtensorChain against a real subtensor runtime, with real transactions.

Needs a development node whose sudo key is //Alice, named by HIPPY_SUBTENSOR_URL (ws://127.0.0.1:PORT), and makes a
subnet of its own there; skipped without one. Run it with ``-s`` to read what the chain said.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("bittensor")

import bittensor as bt
import bittensor_core

from hippy.chain.network import BittensorNetwork, parse_network
from hippy.chain.protocol import BeaconNotYet, Metagraph
from hippy.chain.registration import register, registration_cost_rao
from hippy.chain.subtensor import open_subtensor
from hippy.chain.subtensor_chain import SubtensorChain, open_subtensor_chain
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, UsageError
from hippy.identity import Identity
from tests.chain.old_runtime import OldRuntimeSubstrate, substrate

URL = os.environ.get("HIPPY_SUBTENSOR_URL", "")

pytestmark = [
    pytest.mark.skipif(not URL, reason="HIPPY_SUBTENSOR_URL names no subtensor node"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

NEURONS = 6
VALIDATORS = 2
SHARES = (0.4, 0.3, 0.2, 0.1)
TAO = 10**9
WAIT_SECONDS = 120.0

PERMISSIVE = {
    "sudo_set_max_registrations_per_block": ("max_registrations_per_block", 16),
    "sudo_set_target_registrations_per_interval": ("target_registrations_per_interval", 64),
    "sudo_set_weights_set_rate_limit": ("weights_set_rate_limit", 0),
    "sudo_set_serving_rate_limit": ("serving_rate_limit", 0),
    "sudo_set_min_allowed_weights": ("min_allowed_weights", 1),
    "sudo_set_max_weight_limit": ("max_weight_limit", 65_535),
    "sudo_set_commit_reveal_weights_enabled": ("enabled", False),
    "sudo_set_weights_version_key": ("weights_version_key", 0),
}
"""What a development subnet allows, so that a test need not wait for hours: call → parameter, value."""


def say(text: str) -> None:
    print(text, flush=True)


def hotkey(number: int) -> Identity:
    return Identity.from_seed(bytes([number + 1]) * 31 + bytes([os.getpid() % 256]))


@asynccontextmanager
async def god() -> AsyncIterator[God]:
    async with bt.Client(URL, substrate=OldRuntimeSubstrate(URL)) as client:
        yield God(client)


class God:
    """//Alice: sudo, owner of the subnet, and everybody's coldkey."""

    def __init__(self, client: Any) -> None:
        self.client = client
        pair = bittensor_core.Keypair.create_from_uri("//Alice")
        self.wallet = SimpleNamespace(coldkey=pair, coldkeypub=pair, hotkey=pair)
        self.identity = Identity(pair)

    async def sudo(self, function: str, **params: Any) -> None:
        inner = await self.client.compose(("AdminUtils", function, params))
        result = await self.client.submit_call(bt.calls.Sudo.sudo(call=inner), self.wallet)
        assert result.success, f"{function}: {result.message}"

    async def subnet(self) -> int:
        """Make a subnet, started and permissive, and return its number."""
        await self.sudo("sudo_set_network_rate_limit", rate_limit=0)
        await self.sudo("sudo_set_tx_rate_limit", tx_rate_limit=0)
        await self.sudo("sudo_set_stake_threshold", min_stake=0)
        result = await self.client.execute(bt.RegisterSubnet(), self.wallet)
        assert result.success, result.message
        netuid: int = result.data["netuid"]
        for function, (name, value) in PERMISSIVE.items():
            await self.sudo(function, netuid=netuid, **{name: value})
        block = await self.client.block()
        await self.client.wait_for_block(block + 12, timeout=WAIT_SECONDS)
        started = await self.client.execute(bt.StartCall(netuid=netuid), self.wallet)
        assert started.success, started.message
        return netuid

    async def stake(self, netuid: int, hotkey: Identity, tao: float) -> None:
        intent = bt.AddStake(hotkey_ss58=hotkey.ss58, netuid=netuid, amount_tao=tao, slippage_protection=False)
        result = await self.client.execute(intent, self.wallet)
        assert result.success, result.message


def network() -> BittensorNetwork:
    named = parse_network(URL)
    assert isinstance(named, BittensorNetwork)
    return named


@asynccontextmanager
async def opened(netuid: int, signer: Identity | None) -> AsyncIterator[SubtensorChain]:
    async with open_subtensor_chain(
        network(), netuid, signer=signer, clock=SystemClock(), make_substrate=lambda: substrate(URL)
    ) as chain:
        yield chain


async def register_all(netuid: int, coldkey: Identity) -> list[Identity]:
    keys = [hotkey(number) for number in range(NEURONS)]
    async with open_subtensor(network(), make_substrate=lambda: substrate(URL)) as subtensor:
        say(f"registering costs {await registration_cost_rao(subtensor, netuid) / TAO:.9f} TAO")
        for key in keys:
            uid = await register(subtensor, netuid, key.public_key, coldkey, SystemClock(), cost_max_rao=TAO)
            say(f"{key.ss58} is uid {uid}")
    return keys


async def wait_for_permits(chain: SubtensorChain, count: int) -> Metagraph:
    for _ in range(20):
        metagraph = await chain.metagraph()
        if sum(neuron.validator_permit for neuron in metagraph.neurons) >= count:
            return metagraph
        await asyncio.wait_for(chain.wait_for_epoch(), WAIT_SECONDS)
    raise AssertionError("the chain gives no permits")


def table(metagraph: Metagraph) -> str:
    rows = (
        f"  uid {n.uid} permit {n.validator_permit!s:<5} stake {n.stake_rao / TAO:>14.4f} "
        f"incentive {n.incentive:.4f} at {n.endpoint}"
        for n in metagraph.neurons
    )
    return "\n".join([f"block {metagraph.block}, epochs of {metagraph.tempo_blocks} blocks", *rows])


async def test_a_subnet_lives_on_a_real_runtime() -> None:
    async with god() as alice:
        netuid = await alice.subnet()
        say(f"subnet {netuid} on spec {await alice.client.spec_version()}")
    keys = await register_all(netuid, alice.identity)
    async with god() as alice:  # a new connection: the last one does not know what Alice has sent since
        for key in keys[:VALIDATORS]:
            await alice.stake(netuid, key, 100.0)
    endpoints = {key.public_key: Endpoint(f"127.0.{at + 1}.1", 4100 + at) for at, key in enumerate(keys)}
    for key in keys:
        async with opened(netuid, key) as chain:
            await chain.publish_endpoint(endpoints[key.public_key])
            await chain.publish_endpoint(endpoints[key.public_key])  # shown already: nothing is sent
    async with opened(netuid, keys[0]) as chain, opened(netuid, keys[1]) as other:
        await check_facts(chain)
        before = await wait_for_permits(chain, VALIDATORS)
        say(table(before))
        ours = {neuron.hotkey: neuron for neuron in before.neurons}
        assert {key: ours[key].endpoint for key in endpoints} == endpoints
        miners = [ours[key.public_key].uid for key in keys[VALIDATORS:]]
        weights = dict(zip(miners, SHARES, strict=True))
        for validator in (chain, other):
            await validator.set_weights(weights)
        await check_refusals(netuid, keys, weights)
        for _ in range(2):
            epoch = await asyncio.wait_for(chain.wait_for_epoch(), WAIT_SECONDS)
        after = await chain.metagraph()
        for key in keys[:VALIDATORS]:
            assert await chain.weights_of(ours[key.public_key].uid) == pytest.approx(weights, abs=0.001)
        assert await chain.weights_of(miners[0]) == {}
        say(f"epoch {epoch}\n{table(after)}")
    async with god() as alice:
        ranks = {neuron.uid: neuron.rank for neuron in await alice.client.subnets.metagraph(netuid, commitments=False)}
    say(f"ranks {ranks}")
    assert {uid: ranks[uid] for uid in miners} == pytest.approx(weights, abs=0.01)
    incentives = {neuron.uid: neuron.incentive for neuron in after.neurons}
    assert {uid: incentives[uid] for uid in miners} == pytest.approx(weights, abs=0.01)
    assert all(neuron.incentive == 0 for neuron in before.neurons)


async def check_facts(chain: SubtensorChain) -> None:
    """Time, blocks and the beacon of a real chain keep their promises."""
    assert len(chain.network) == 32
    assert chain.is_local
    epoch = await asyncio.wait_for(chain.wait_for_epoch(), WAIT_SECONDS)
    assert await chain.current_epoch() == epoch
    tempo = (await chain.metagraph()).tempo_blocks
    first = await chain.current_block()
    assert await asyncio.wait_for(chain.wait_for_epoch(), WAIT_SECONDS) == epoch + 1
    assert await chain.current_block() == pytest.approx(first + tempo, abs=2)  # blocks go on while we ask
    newest = await chain.beacon_round()
    assert await chain.rounds_per_epoch() >= 1
    assert await chain.epoch_seconds() > 0
    assert len(await chain.beacon(newest)) == 32
    assert await chain.beacon(newest) == await chain.beacon(newest)
    with pytest.raises(BeaconNotYet):
        await chain.beacon(newest + 10_000)


async def check_refusals(netuid: int, keys: list[Identity], weights: dict[int, float]) -> None:
    """The chain's refusals come as ours."""
    async with opened(netuid, keys[-1]) as miner:
        with pytest.raises(AuthError, match="permit"):
            await miner.set_weights(weights)
        with pytest.raises(UsageError):
            await miner.publish_endpoint(Endpoint("127.0.0.1", 4100))
    async with opened(netuid, hotkey(200)) as stranger:
        with pytest.raises(AuthError, match="not registered"):
            await stranger.publish_endpoint(Endpoint("127.0.9.1", 4100))
    with pytest.raises(ConfigError, match="no subnet"):
        async with opened(netuid + 1_000, None):
            pass
