"""``hippy login`` and ``hippy whoami``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hippy.cli.opening import with_client
from hippy.cli.output import human_bytes, json_option, print_json

if TYPE_CHECKING:
    from hippy.client.home import Credentials
    from hippy.client.results import Account
    from hippy.client.sdk import AsyncClient
    from hippy.wire.node import Hello


@click.command()
@click.option("--validator", metavar="HOST:PORT", help="The home validator (default: the local network's).")
@click.option("--validator-hotkey", metavar="SS58", help="Refuse any other validator at that address.")
@click.option("--recover", is_flag=True, help="Restore an account: asks for its recovery phrase.")
@json_option
def login(validator: str | None, validator_hotkey: str | None, recover: bool, as_json: bool) -> None:
    """Create an account, or restore one from its recovery phrase.

    The phrase is asked for, never given on the command line. Nothing but the phrase can restore the account and
    its data.
    """
    from hippy.client.home import find_home, save_credentials
    from hippy.errors import ConfigError
    from hippy.identity import new_phrase, seed_of_phrase

    path = find_home().credentials
    if path.exists():
        raise ConfigError(f"there is a login already: {path}", hint="move it away to use another account")
    phrase = click.prompt("Recovery phrase", hide_input=True, err=True) if recover else new_phrase()
    credentials = _credentials(seed_of_phrase(phrase), validator, validator_hotkey)
    save_credentials(path, credentials)
    if as_json:
        told = {"account": credentials.account_ss58, "credentials": str(path)}
        print_json(told if recover else {**told, "recovery_phrase": phrase})
        return
    if not recover:
        click.echo("Write these 12 words down and keep them safe. They are the only way to restore this account")
        click.echo("and to read its data; nobody can give them to you again:\n")
        click.echo(f"    {phrase}\n")
    click.echo(f"account {credentials.account_ss58}, kept in {path}")


def _credentials(seed: bytes, validator: str | None, hotkey: str | None) -> Credentials:
    """Ask the validator who it is, and return credentials that hold it to that."""
    from hippy.client.home import Credentials, find_local_network, load_credentials, network_credentials
    from hippy.endpoint import Endpoint
    from hippy.errors import AuthError, UsageError
    from hippy.identity import ss58_encode

    if validator is None:
        directory = find_local_network()
        if directory is None:
            raise UsageError("which validator?", hint="hippy login --validator HOST:PORT, or hippy net up -d first")
        local = load_credentials(network_credentials(directory))
        validator, hotkey = str(local.validator_endpoint), hotkey or ss58_encode(local.validator_hotkey)
    endpoint = Endpoint.parse(validator)
    hello = _ask(endpoint)
    if hotkey is not None and ss58_encode(hello.hotkey) != hotkey:
        raise AuthError(f"the validator at {endpoint} is {ss58_encode(hello.hotkey)}, not {hotkey}")
    return Credentials.of_seed(
        seed,
        validator_endpoint=endpoint,
        validator_hotkey=hello.hotkey,
        network=hello.network,
        netuid=hello.netuid,
        local=endpoint.is_loopback,
    )


def _ask(endpoint: object) -> Hello:
    from hippy.cli.running import run
    from hippy.clock import SystemClock
    from hippy.endpoint import Endpoint
    from hippy.transport.client import open_http
    from hippy.transport.hello import meet

    assert isinstance(endpoint, Endpoint)

    async def asked() -> Hello:
        clock = SystemClock()
        async with open_http(None, clock) as http:
            return await meet(http, endpoint, "validator", clock=clock)

    return run(asked())


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Show the account in use, its validator and its quota."""

    async def work(client: AsyncClient) -> Account:
        return await client.whoami()

    account = with_client(work)
    if as_json:
        print_json(
            {
                "account": account.account,
                "pay_class": account.pay_class,
                "quota_bytes": account.quota_bytes,
                "used_bytes": account.used_bytes,
                "validator": account.validator,
                "network": account.network,
            }
        )
        return
    click.echo(f"account    {account.account} ({account.pay_class})")
    click.echo(f"used       {human_bytes(account.used_bytes)} of {human_bytes(account.quota_bytes)}")
    click.echo(f"validator  {account.validator}")
    click.echo(f"network    {account.network}")
