"""``hippy login`` and ``hippy whoami``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.opening import with_client
from hippy.cli.printing import human_bytes, json_option, print_json, shown

if TYPE_CHECKING:
    from hippy.client.home import Credentials
    from hippy.client.results import Account
    from hippy.client.sdk import AsyncClient
    from hippy.endpoint import Endpoint
    from hippy.ids import PublicKey
    from hippy.wire.node import Hello

PHRASE_CHARACTERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class _HomeValidator:
    """The validator to log in at; ``hotkey`` None: whoever proves to be there."""

    endpoint: Endpoint
    hotkey: PublicKey | None


@click.command()
@click.option("--validator", metavar="HOST:PORT", help="The home validator (default: the local network's).")
@click.option("--validator-hotkey", metavar="SS58", help="Refuse any other validator at that address.")
@click.option("--recover", is_flag=True, help="Restore an account: asks for its recovery phrase.")
@json_option
def login(validator: str | None, validator_hotkey: str | None, recover: bool, as_json: bool) -> None:
    """Create an account, or restore one from its recovery phrase.

    The phrase is asked for (without a terminal: read from standard input), never given on the command line.
    Nothing but the phrase can restore the account and its data.
    """
    from hippy.client.home import find_home, save_credentials
    from hippy.errors import ConfigError
    from hippy.identity import new_phrase, seed_of_phrase

    path = find_home().credentials
    if path.exists():
        raise ConfigError(f"there is a login already: {path}", hint="move it away to use another account")
    home = _home_validator(validator, validator_hotkey)
    phrase = _ask_phrase() if recover else new_phrase()
    credentials = _credentials(seed_of_phrase(phrase), home)
    save_credentials(path, credentials)
    if as_json:
        told = {"account": credentials.account_ss58, "credentials": str(path)}
        print_json(told if recover else {**told, "recovery_phrase": phrase})
        return
    if not recover:
        click.echo("Write these 12 words down and keep them safe. They are the only way to restore this account")
        click.echo("and to read its data; nobody can give them to you again:\n")
        click.echo(f"    {phrase}\n")
    click.echo(f"account {credentials.account_ss58}, kept in {shown(str(path))}")


def _home_validator(address: str | None, hotkey: str | None) -> _HomeValidator:
    """Return the validator that is meant: the one named, else the local network's."""
    from hippy.client.home import find_local_network, load_credentials, network_credentials
    from hippy.endpoint import Endpoint
    from hippy.errors import ProtocolError, UsageError
    from hippy.identity import ss58_decode

    try:
        expected = ss58_decode(hotkey) if hotkey is not None else None
    except ProtocolError as error:
        raise UsageError(f"--validator-hotkey: {error}", hint="its operator knows it, an address like 5F…") from None
    if address is None:
        directory = find_local_network()
        if directory is None:
            raise UsageError("which validator?", hint="hippy login --validator HOST:PORT, or hippy net up -d first")
        local = load_credentials(network_credentials(directory))
        return _HomeValidator(local.validator_endpoint, expected or local.validator_hotkey)
    try:
        return _HomeValidator(Endpoint.parse(address), expected)
    except ProtocolError as error:
        raise UsageError(f"--validator: {error}", hint="write a numeric address and a port: 127.0.1.1:4000") from None


def _ask_phrase() -> str:
    from hippy.errors import UsageError

    if sys.stdin.isatty():
        return str(click.prompt("Recovery phrase", hide_input=True, err=True))
    phrase = sys.stdin.readline(PHRASE_CHARACTERS_MAX).strip()
    if not phrase:
        raise UsageError("there is no recovery phrase on standard input", hint="write its 12 words on one line")
    return phrase


def _credentials(seed: bytes, home: _HomeValidator) -> Credentials:
    """Ask the validator who it is, and return credentials that hold it to that."""
    from hippy.client.home import Credentials
    from hippy.errors import AuthError
    from hippy.identity import ss58_encode

    hello = _ask(home.endpoint)
    if home.hotkey is not None and hello.hotkey != home.hotkey:
        found, wanted = ss58_encode(hello.hotkey), ss58_encode(home.hotkey)
        raise AuthError(f"the validator at {home.endpoint} is {found}, not {wanted}")
    return Credentials.of_seed(
        seed,
        validator_endpoint=home.endpoint,
        validator_hotkey=hello.hotkey,
        network=hello.network,
        netuid=hello.netuid,
        local=not home.endpoint.is_public,  # a validator inside a network of its own knows miners that are, too
    )


def _ask(endpoint: Endpoint) -> Hello:
    """Return who the validator at ``endpoint`` says it is."""
    from hippy.cli.running import run
    from hippy.clock import SystemClock
    from hippy.errors import TemporaryError, UnreachableError
    from hippy.transport.client import open_http
    from hippy.transport.hello import meet

    async def asked() -> Hello:
        clock = SystemClock()
        async with open_http(None, clock) as http:
            return await meet(http, endpoint, "validator", clock=clock)

    try:
        return run(asked())
    except TemporaryError:  # its message names the peer by a key, and we know none yet
        raise UnreachableError(
            f"no validator answers at {endpoint}", hint="is the address right, and is it up?"
        ) from None


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Show the account in use, its validator and its quota."""
    from hippy.client.home import find_credentials
    from hippy.identity import ss58_encode

    async def work(client: AsyncClient) -> Account:
        return await client.whoami()

    account = with_client(work)
    if as_json:
        credentials = find_credentials()
        print_json(
            {
                "account": account.account,
                "pay_class": account.pay_class,
                "quota_bytes": account.quota_bytes,
                "used_bytes": account.used_bytes,
                "validator": ss58_encode(credentials.validator_hotkey),
                "validator_endpoint": str(credentials.validator_endpoint),
                "network": account.network,
            }
        )
        return
    click.echo(f"account    {account.account} ({account.pay_class})")
    click.echo(f"used       {human_bytes(account.used_bytes)} of {human_bytes(account.quota_bytes)}")
    click.echo(f"validator  {account.validator}")
    click.echo(f"network    {account.network}")
