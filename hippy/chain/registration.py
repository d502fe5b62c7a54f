"""Registering a hotkey on a subnet: done once, by a person, with the coldkey that pays.

Example::

    async with open_subtensor(parse_network("finney")) as subtensor:
        print(await registration_cost_rao(subtensor, 64))
        uid = await register(subtensor, 64, hotkey, coldkey, SystemClock(), cost_max_rao=10**9)
"""

from __future__ import annotations

import logging

from hippy.chain.fate import look_up
from hippy.chain.subtensor import DoubtError, Signer, Subtensor
from hippy.clock import Clock
from hippy.errors import ConfigError, ConflictError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey

log = logging.getLogger("hippy.chain")


async def registration_cost_rao(subtensor: Subtensor, netuid: int) -> int:
    """Return what registering costs now, in rao (10^-9 TAO); it is burned, or partly locked as collateral.

    Raises ConfigError when there is no such subnet.
    """
    cost = await subtensor.query("SubtensorModule", "Burn", [netuid])
    if cost is None or not await subtensor.query("SubtensorModule", "NetworksAdded", [netuid]):
        raise ConfigError(f"this chain has no subnet {netuid}", hint="is netuid right, and the network?")
    return int(cost)


async def register(
    subtensor: Subtensor, netuid: int, hotkey: PublicKey, coldkey: Signer, clock: Clock, *, cost_max_rao: int
) -> int:
    """Register ``hotkey``, paid by ``coldkey``, and return its uid.

    The price is looked at just before it is paid, and may still rise until the transaction is in a block. Raises
    ConflictError when the hotkey is registered already or the price is above ``cost_max_rao``, and whatever the chain
    refuses it for.
    """
    uid = await _uid(subtensor, netuid, hotkey)
    if uid is not None:
        raise ConflictError(f"{ss58_encode(hotkey)} is registered on subnet {netuid} already, as uid {uid}")
    cost_rao = await registration_cost_rao(subtensor, netuid)
    if cost_rao > cost_max_rao:
        raise ConflictError(
            f"registering costs {cost_rao} rao by now, more than the {cost_max_rao} that were agreed to"
        )
    sent_at = await subtensor.block_number()

    async def is_done() -> bool:
        return await _uid(subtensor, netuid, hotkey) is not None

    try:
        await subtensor.send_registration(netuid, hotkey, coldkey)
    except DoubtError as doubt:
        log.warning("registering: %s; looking whether it was done", doubt)
        await look_up("registering", subtensor, sent_at, is_done, clock)
    uid = await _uid(subtensor, netuid, hotkey)
    if uid is None:
        raise TemporaryError("the chain took the registration and does not show it yet", hint="hippy chain show")
    return uid


async def _uid(subtensor: Subtensor, netuid: int, hotkey: PublicKey) -> int | None:
    uid = await subtensor.query("SubtensorModule", "Uids", [netuid, ss58_encode(hotkey)])
    return None if uid is None else int(uid)
