"""``hippy chain create | serve | admit | dismiss | hotkey``: a private network on several machines and its members."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from hippy.cli.printing import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ipaddress import IPv4Address, IPv6Address

    from hippy.chain.local import LocalChain
    from hippy.ids import PublicKey

BLOCK_SECONDS_USUAL: Final = 12.0
TEMPO_BLOCKS_USUAL: Final = 360
"""Epochs of 72 minutes, as on Bittensor: audits, releases and trash keep their usual times (PROTOCOL §4.2, §5.5)."""

STAKE_USUAL: Final = 1_000
RAO_PER_TAO: Final = 10**9

T = TypeVar("T")

_directory = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


@click.command()
@_directory
@click.option("--block-seconds", type=click.FloatRange(0.1, 600), default=BLOCK_SECONDS_USUAL, show_default=True)
@click.option("--tempo", type=click.IntRange(2, 100_000), default=TEMPO_BLOCKS_USUAL, show_default=True, help="Blocks.")
@click.option("--netuid", type=click.IntRange(0, 65_535), default=1, show_default=True)
@json_option
def create(directory: Path, block_seconds: float, tempo: int, netuid: int, as_json: bool) -> None:
    """Make the chain of a private network in DIRECTORY, on the machine that is to keep it.

    Shorter epochs make everything faster that waits in epochs: audits, weights, releases of deleted data.
    """
    from hippy.clock import SystemClock
    from hippy.identity import ss58_encode
    from hippy.net.keeper import create_keeper

    keeper = create_keeper(
        directory, clock=SystemClock(), block_seconds=block_seconds, tempo_blocks=tempo, netuid=netuid
    )
    if as_json:
        print_json({"directory": str(directory), "keeper": ss58_encode(keeper), "netuid": netuid})
        return
    click.echo(f"keeper {ss58_encode(keeper)}, epochs of {block_seconds * tempo:,.0f} s")
    click.echo(f"next: hippy chain serve {directory} --host ADDRESS --port 4000", err=True)


@click.command()
@_directory
@click.option("--host", default="127.0.0.1", show_default=True, help="The numeric address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=4000, show_default=True)
@click.option("--publish-host", help="The address that the other machines use, where that is another one.")
def serve(directory: Path, host: str, port: int, publish_host: str | None) -> None:
    """Keep a private network: serve its chain to the other machines until stopped."""
    from hippy.cli.logs import log_to_stderr
    from hippy.cli.notify import notify
    from hippy.cli.running import run_daemon
    from hippy.clock import SystemClock
    from hippy.endpoint import Endpoint
    from hippy.net.keeper import load_keeper, network_name, run_keeper

    _check_address("--host", host)
    told = _check_address("--publish-host", publish_host or host)
    if told.is_unspecified:
        raise click.UsageError(f"{told} is every address of this machine; tell --publish-host, which others use")
    keeper = load_keeper(directory).public_key
    log_to_stderr("info")

    def ready(endpoint: Endpoint) -> None:
        notify("READY=1")
        click.echo(f'nodes join with   network = "{network_name(keeper, Endpoint(str(told), endpoint.port))}"')

    run_daemon(run_keeper(directory, host, port, clock=SystemClock(), ready=ready), with_parent=False)


@click.command()
@_directory
@click.argument("hotkey", metavar="HOTKEY")
@click.option("--coldkey", metavar="SS58", help="Its owner (default: the hotkey itself).")
@click.option("--validator", is_flag=True, help="With a validator's permit.")
@click.option("--stake", type=click.IntRange(1, 10**9), default=STAKE_USUAL, show_default=True, help="Of a validator.")
@json_option
def admit(directory: Path, hotkey: str, coldkey: str | None, validator: bool, stake: int, as_json: bool) -> None:
    """Register HOTKEY, an address like 5F…, in the private network kept in DIRECTORY."""
    key = _key(hotkey)
    owner = key if coldkey is None else _key(coldkey)
    stake_rao = stake * RAO_PER_TAO if validator else 0

    async def work(chain: LocalChain) -> int:
        return await chain.register(key, owner, validator_permit=validator, stake_rao=stake_rao)

    uid = _with_chain(directory, work)
    if as_json:
        print_json({"hotkey": hotkey, "uid": uid, "validator": validator})
    else:
        click.echo(f"{hotkey} is uid {uid}")


@click.command()
@_directory
@click.argument("hotkey", metavar="HOTKEY")
def dismiss(directory: Path, hotkey: str) -> None:
    """Take HOTKEY out of the private network; what a miner held counts as lost."""
    key = _key(hotkey)

    async def work(chain: LocalChain) -> None:
        await chain.deregister(key)

    _with_chain(directory, work)
    click.echo(f"{hotkey} is registered no longer")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def hotkey(file: Path, as_json: bool) -> None:
    """Make a hotkey in FILE, for a node of a private network, and print its address."""
    from hippy.errors import ConfigError
    from hippy.identity import Identity, save_keyfile, ss58_encode

    if file.exists():
        raise ConfigError(f"{file} exists", hint="name a new file")
    identity = Identity.generate()
    save_keyfile(identity, file)
    address = ss58_encode(identity.public_key)
    if as_json:
        print_json({"file": str(file), "hotkey": address})
    else:
        click.echo(address)


def _check_address(option: str, text: str) -> IPv4Address | IPv6Address:
    """Return a numeric address; no resolver is ever asked."""
    from ipaddress import ip_address

    try:
        return ip_address(text)
    except ValueError:
        raise click.UsageError(f"{option} is a numeric address, like 192.168.1.10, not {text!r}") from None


def _key(address: str) -> PublicKey:
    from hippy.errors import ProtocolError, UsageError
    from hippy.identity import ss58_decode

    try:
        return ss58_decode(address)
    except ProtocolError as error:
        raise UsageError(str(error), hint="`hippy chain hotkey FILE` makes a hotkey and prints its address") from None


def _with_chain(directory: Path, work: Callable[[LocalChain], Awaitable[T]]) -> T:
    from hippy.chain.local import open_local_chain
    from hippy.chain.open import CHAIN_FILE
    from hippy.cli.running import run
    from hippy.clock import SystemClock
    from hippy.net.keeper import load_keeper

    load_keeper(directory)  # names what to do where there is none

    async def opened() -> T:
        async with open_local_chain(directory / CHAIN_FILE, hotkey=None, clock=SystemClock()) as chain:
            return await work(chain)

    return run(opened())
