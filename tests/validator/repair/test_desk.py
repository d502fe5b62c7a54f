"""POST /v1/drain on a real validator: who is registered may say that it leaves, and is left out from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import AuthError, ProtocolError, TemporaryError
from hippy.identity import Identity
from hippy.transport.client import Call, open_http
from hippy.wire.repair import Drain, DrainAnswer
from tests.validator.network import CLOCK, NETWORK, STRANGER, VALIDATOR, Client, local_network, new_request


async def say(client: Client, sender: Identity, action: str = "start", **changes: object) -> DrainAnswer:
    values = {
        "miner": sender.public_key,
        "validator": VALIDATOR.public_key,
        "action": action,
        "time": int(CLOCK.now()),
    }
    word = Drain.model_validate({**values, **changes}).signed(sender, NETWORK)
    async with open_http(sender, CLOCK) as http:
        return await http.message(client.validator, Call("POST", "/v1/drain", word.encode()), DrainAnswer)


async def test_a_miner_that_leaves_is_given_nothing_new_until_it_stays(tmp_path: Path) -> None:
    async with local_network(tmp_path, miners=4) as network, network.validator() as client:
        await client.wait_until_live(4)
        leaving = network.miners[0].identity
        assert await say(client, leaving) == DrainAnswer(pieces=0, bytes=0)
        with pytest.raises(TemporaryError, match="4 independent miners are needed"):
            await client.allocate(new_request())
        await say(client, leaving, "stop")
        assert len(await client.allocate(new_request())) == 4


async def test_who_leaves_is_known_after_a_restart(tmp_path: Path) -> None:
    async with local_network(tmp_path, miners=4) as network:
        async with network.validator() as client:
            await say(client, network.miners[0].identity)
        async with network.validator() as client:
            await client.wait_until_live(4)
            with pytest.raises(TemporaryError, match="4 independent miners are needed"):
                await client.allocate(new_request())


async def test_only_registered_miners_say_that_they_leave_and_only_of_themselves(tmp_path: Path) -> None:
    async with local_network(tmp_path, miners=2) as network, network.validator() as client:
        one, other = (miner.identity for miner in network.miners)
        with pytest.raises(AuthError, match="registered"):
            await say(client, STRANGER)
        with pytest.raises(AuthError, match="another miner"):
            await say(client, one, miner=other.public_key)
        with pytest.raises(ProtocolError):
            await say(client, one, time=int(CLOCK.now()) - 600)
