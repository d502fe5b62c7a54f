"""``hippy chain register`` and ``hippy chain show``: a subnet as a person meets it. Private ones: hippy.cli.keeper.

Registering is the one thing hippy does with a coldkey. Its password comes from a prompt or from
``BT_WALLET_PASSWORD``, as the chain's own tools take it, and never from the command line.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli import keeper
from hippy.cli.network_options import network_options, wallet_options
from hippy.cli.printing import counted, json_option, print_json

if TYPE_CHECKING:
    from hippy.chain.network import BittensorNetwork
    from hippy.chain.protocol import Metagraph, Neuron
    from hippy.chain.subtensor import Subtensor
    from hippy.chain.wallet import Wallet
    from hippy.identity import Identity
    from hippy.ids import PublicKey

RAO_PER_TAO: Final = 10**9
PASSWORD_VARIABLE: Final = "BT_WALLET_PASSWORD"  # noqa: S105 - a name


@click.group()
def chain() -> None:
    """Register a node on a Bittensor network; look at a subnet; keep a private network."""


for command in (keeper.create, keeper.serve, keeper.admit, keeper.dismiss, keeper.hotkey):
    chain.add_command(command)


@chain.command()
@network_options(required=True)
@wallet_options(required=True)
@click.option("--yes", is_flag=True, help="Pay without being asked.")
@json_option
def register(
    network: str,
    netuid: int,
    wallet_name: str,
    wallet_hotkey: str | None,
    wallet_path: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Register a wallet's hotkey on a subnet; the wallet's coldkey pays.

    Run it where the coldkey is; the node's machine needs the hotkey alone. An encrypted coldkey's password is asked
    for, or taken from BT_WALLET_PASSWORD.
    """
    from hippy.chain.wallet import Wallet, hotkey_address
    from hippy.cli.running import run
    from hippy.identity import ss58_encode

    named = _bittensor(network)
    wallet = Wallet.named(wallet_name, wallet_hotkey, wallet_path)
    hotkey = hotkey_address(wallet)
    locked = _coldkey_is_locked(wallet)
    cost_rao = run(_quote(named, netuid, hotkey))
    what = f"registering {ss58_encode(hotkey)} on subnet {netuid} of {network}"
    click.echo(f"{what} costs {tao(cost_rao)} TAO, paid by the coldkey of wallet {wallet.name}", err=True)
    if not yes:
        click.confirm("Register it?", abort=True, err=True)
    coldkey = _load_coldkey(wallet, locked=locked)
    uid = run(_register(named, netuid, hotkey, coldkey, cost_rao))
    if as_json:
        told = {"network": network, "netuid": netuid, "uid": uid, "hotkey": ss58_encode(hotkey)}
        print_json({**told, "coldkey": coldkey.ss58, "cost_rao": cost_rao})
    else:
        click.echo(f"{ss58_encode(hotkey)} is uid {uid} on subnet {netuid}")


@chain.command()
@network_options(required=True)
@json_option
def show(network: str, netuid: int, as_json: bool) -> None:
    """Show a subnet: its newest block and epoch, and its neurons."""
    from hippy.cli.running import run

    found = run(_look(network, netuid))
    metagraph = found.metagraph
    if as_json:
        told = {"network": network, "genesis": found.genesis, "netuid": netuid, "block": found.block}
        neurons = [_told(neuron) for neuron in metagraph.neurons]
        print_json({**told, "epoch": found.epoch, "tempo_blocks": metagraph.tempo_blocks, "neurons": neurons})
        return
    click.echo(f"block    {found.block}")
    click.echo(f"epoch    {found.epoch}, of {counted(metagraph.tempo_blocks, 'block')}")
    click.echo(f"neurons  {len(metagraph.neurons)}")
    if metagraph.neurons:
        click.echo(f"{'uid':>5}  {'hotkey':<48}  {'coldkey':<48}  {'endpoint':<21}  permit  {'stake':>20}  incentive")
    for neuron in metagraph.neurons:
        click.echo(_line(_told(neuron), neuron.stake_rao))


def tao(rao: int) -> str:
    """Return an amount in TAO, exactly: ``1.500000000``."""
    return f"{rao // RAO_PER_TAO}.{rao % RAO_PER_TAO:09d}"


def _bittensor(network: str) -> BittensorNetwork:
    from hippy.chain.network import BittensorNetwork, parse_network
    from hippy.errors import UsageError

    named = parse_network(network)
    if not isinstance(named, BittensorNetwork):
        raise UsageError(
            "only Bittensor networks are registered on with a wallet",
            hint="hippy net up registers the nodes that it makes, hippy chain admit those of a private network",
        )
    return named


def _coldkey_is_locked(wallet: Wallet) -> bool:
    from hippy.errors import ConfigError
    from hippy.identity import is_encrypted

    if not wallet.coldkey_file.exists():
        raise ConfigError(
            f"there is no coldkey at {wallet.coldkey_file}, and registering is paid with it",
            hint="run this on the machine that has the coldkey; the hotkey's public file is enough there",
        )
    return is_encrypted(wallet.coldkey_file)


def _load_coldkey(wallet: Wallet, *, locked: bool) -> Identity:
    from hippy.identity import load_encrypted_keyfile, load_keyfile

    if not locked:
        return load_keyfile(wallet.coldkey_file)
    password = os.environ.get(PASSWORD_VARIABLE) or click.prompt(
        f"Password of the coldkey of wallet {wallet.name}", hide_input=True, err=True
    )
    return load_encrypted_keyfile(wallet.coldkey_file, password)


@asynccontextmanager
async def _connected(network: BittensorNetwork) -> AsyncIterator[Subtensor]:
    from hippy.chain.open import sdk_is_missing, substrate_factory

    try:
        from hippy.chain.subtensor import open_subtensor
    except ImportError as error:
        raise sdk_is_missing(error) from error
    async with open_subtensor(network, make_substrate=substrate_factory(network)) as subtensor:
        yield subtensor


async def _quote(network: BittensorNetwork, netuid: int, hotkey: PublicKey) -> int:
    """Return what registering costs now, in rao; the connection is not held while a person thinks about it.

    Raises ConflictError for a hotkey that is registered already.
    """
    from hippy.errors import ConflictError
    from hippy.identity import ss58_encode

    async with _connected(network) as subtensor:
        from hippy.chain.registration import registration_cost_rao

        cost_rao = await registration_cost_rao(subtensor, netuid)
        metagraph = await subtensor.metagraph(netuid)
    neuron = metagraph.by_hotkey(hotkey) if metagraph is not None else None
    if neuron is not None:
        raise ConflictError(f"{ss58_encode(hotkey)} is registered on subnet {netuid} already, as uid {neuron.uid}")
    return cost_rao


async def _register(
    network: BittensorNetwork, netuid: int, hotkey: PublicKey, coldkey: Identity, cost_max_rao: int
) -> int:
    from hippy.clock import SystemClock

    async with _connected(network) as subtensor:
        from hippy.chain.registration import register as register_hotkey

        return await register_hotkey(subtensor, netuid, hotkey, coldkey, SystemClock(), cost_max_rao=cost_max_rao)


@dataclass(frozen=True, slots=True)
class _Subnet:
    """What there is to show."""

    genesis: str
    block: int
    epoch: int
    metagraph: Metagraph


async def _look(network: str, netuid: int) -> _Subnet:
    from hippy.chain.open import open_chain
    from hippy.clock import SystemClock
    from hippy.errors import ConfigError

    async with open_chain(network, netuid, identity=None, clock=SystemClock()) as opened:
        if opened.netuid != netuid:
            raise ConfigError(f"{network} has subnet {opened.netuid}, not subnet {netuid}")
        block, epoch = await opened.current_block(), await opened.current_epoch()
        return _Subnet(opened.network.hex(), block, epoch, await opened.metagraph())


def _told(neuron: Neuron) -> dict[str, Any]:
    from hippy.identity import ss58_encode

    return {
        "uid": neuron.uid,
        "hotkey": ss58_encode(neuron.hotkey),
        "coldkey": ss58_encode(neuron.coldkey),
        "endpoint": None if neuron.endpoint is None else str(neuron.endpoint),
        "validator_permit": neuron.validator_permit,
        "stake_rao": neuron.stake_rao,
        "incentive": neuron.incentive,
    }


def _line(told: dict[str, Any], stake_rao: int) -> str:
    permit = "yes" if told["validator_permit"] else "no"
    keys = f"{told['uid']:>5}  {told['hotkey']:<48}  {told['coldkey']:<48}  {told['endpoint'] or '-':<21}"
    return f"{keys}  {permit:<6}  {tao(stake_rao):>20}  {told['incentive']:.5f}"
