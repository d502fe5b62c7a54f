"""``hippy validator account set | list | show``: the accounts of a validator that runs on this machine.

The commands talk to its admin port (hippy.transport.admin), with the token from its data directory, so they are for the
node's own user. Where that is the settings say: ``--config`` names the same file that the validator was started with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import human_bytes, json_option, print_json

if TYPE_CHECKING:
    from hippy.ids import PublicKey

PAY_CLASSES: Final = ("paid", "unpaid", "canary")
"""PROTOCOL §5.1; hippy.wire.ticket.PayClass, which is not imported, for it would be at every start."""

_UNITS: Final = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGTP", start=1)},
}
_SIZE: Final = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,6}))?\s*([KMGTP]?I?B)?", re.IGNORECASE)
BYTES_MAX: Final = 2**53 - 1
"""hippy.wire.fields.INTEGER_MAX, not imported as above."""


def size_of(_ctx: click.Context, _param: click.Parameter, told: str) -> int:
    """Return bytes: ``100GB`` is 10^11, ``100GiB`` 100 · 2^30, a bare number bytes. Raises BadParameter."""
    found = _SIZE.fullmatch(told.strip())
    if found is None:
        raise click.BadParameter(f"{told!r} is no size: write 100GB, 1.5TiB or a number of bytes")
    whole, fraction, unit = found[1], found[2] or "", _UNITS[(found[3] or "").upper()]
    size: int = int(whole + fraction) * unit // 10 ** len(fraction)
    if size > BYTES_MAX:
        raise click.BadParameter(f"{told!r} is more than there can be ({BYTES_MAX} bytes)")
    return size


_config = click.option(
    "--config", type=click.Path(path_type=Path), required=True, help="The validator's TOML settings."
)


@click.group()
def account() -> None:
    """Set, list and show the accounts of a running validator."""


@account.command("set")
@click.argument("address", metavar="ACCOUNT")
@click.option("--quota", callback=size_of, required=True, metavar="SIZE", help="100GB, 1.5TiB, or bytes.")
@click.option(
    "--class", "pay_class", type=click.Choice(PAY_CLASSES), default="paid", show_default=True, help="How it counts."
)
@_config
@json_option
def set_account(address: str, quota: int, pay_class: str, config: Path, as_json: bool) -> None:
    """Add an account, or change its quota and class, at once and for good.

    For an account that the settings file lists too, this holds until its entry there is changed. A quota below what is
    used takes nothing away.
    """
    from hippy.wire.log import AccountRecord

    record = AccountRecord.model_validate(
        {"account": _key(address), "pay_class": pay_class, "quota_bytes": quota}, strict=True
    )
    _print([_call(config, "POST", "/accounts", record.encode())], as_json=as_json)


@account.command("list")
@_config
@json_option
def list_accounts(config: Path, as_json: bool) -> None:
    """List the accounts that were set, with what they use."""
    _print(_call(config, "GET", "/accounts")["accounts"], as_json=as_json, is_list=True)


@account.command("show")
@click.argument("address", metavar="ACCOUNT")
@_config
@json_option
def show_account(address: str, config: Path, as_json: bool) -> None:
    """Show one account that was set."""
    from hippy.errors import NotFoundError

    key = _key(address).hex()
    for each in _call(config, "GET", "/accounts")["accounts"]:
        if each["account"] == key:
            return _print([each], as_json=as_json)
    raise NotFoundError(f"the account {address} is not set here", hint="hippy validator account set adds it")


def _key(address: str) -> PublicKey:
    """Return the key of an SS58 address. Raises UsageError for what is none."""
    from hippy.errors import ProtocolError, UsageError
    from hippy.identity import ss58_decode

    try:
        return ss58_decode(address)
    except ProtocolError as error:
        raise UsageError(f"{address} is no account: {error.message}", hint="hippy whoami shows one, as 5F...") from None


def _print(accounts: list[dict[str, Any]], *, as_json: bool, is_list: bool = False) -> None:
    from hippy.identity import ss58_encode
    from hippy.ids import PublicKey

    told = [{**each, "account": ss58_encode(PublicKey(bytes.fromhex(each["account"])))} for each in accounts]
    if as_json:
        print_json({"accounts": told} if is_list else told[0])
        return
    for each in told:
        used, quota = human_bytes(each["used_bytes"]), human_bytes(each["quota_bytes"])
        click.echo(f"{each['account']}  {each['pay_class']:<7} {used:>10} of {quota}")


def _call(config: Path, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    """Ask the validator that the settings describe; raises ConfigError where it has no admin port, and its errors."""
    import asyncio

    from hippy.endpoint import Endpoint
    from hippy.errors import ConfigError
    from hippy.settings import load_settings
    from hippy.transport.admin_client import ask
    from hippy.transport.admin_token import read_token
    from hippy.validator.settings import ValidatorSettings

    settings = load_settings(ValidatorSettings, config)
    if settings.admin_port is None:
        raise ConfigError(f"{config} sets no admin_port", hint="add admin_port = 4201, and restart the validator")
    place = Endpoint(settings.admin_host, settings.admin_port)
    return asyncio.run(ask(place, method, path, token=read_token(settings.data_dir), body=body))
