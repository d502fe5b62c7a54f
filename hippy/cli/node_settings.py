"""A node's settings as its commands load and show them.

Beside what hippy.settings checks, the file of the hotkey is looked at, wherever it is named: a secret that others can
read is no secret, so no node starts with one. The same goes for the password of a registry's database, where one is
written into its address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hippy.cli.printing import print_json

if TYPE_CHECKING:
    from hippy.settings import Loaded, NodeSettings

S = TypeVar("S", bound="NodeSettings")


def load_checked(kind: type[S], config: Path, options: Mapping[str, Any]) -> Loaded[S]:
    """Return a node's settings; options that are None were not given. Blocking.

    Raises ConfigError for a wrong setting, and for a hotkey that others can read.
    """
    from hippy.settings import check_secret_file, load_with_sources

    given = {field: value for field, value in options.items() if value is not None}
    if "registry" in given:
        _check_no_password(given["registry"])
    loaded = load_with_sources(kind, config, given)
    setting, path = hotkey_of(loaded.settings)
    check_secret_file(path, setting)
    _check_registry(loaded, config)
    return loaded


def registry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what tells one process of a validator from another, and where they keep their registry."""
    options = [
        click.option(
            "--registry",
            metavar="URL",
            help="Keep the registry in a PostgreSQL database, postgresql://USER@HOST/DATABASE. Without a password:"
            " PGPASSWORD, PGPASSFILE or the settings file have it.",
        ),
        click.option("--port", type=click.IntRange(0, 65_535), help="The port to listen on."),
        click.option("--admin-port", type=click.IntRange(1, 65_535), help="The port of health and metrics."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _check_no_password(url: str) -> None:
    """Raises UsageError for an address with a password: every user of the machine can read a command's arguments."""
    from hippy.errors import UsageError
    from hippy.postgres.address import has_password, registry_url

    with suppress(ValueError):  # what is no address at all, the settings say
        if has_password(registry_url(url)):
            raise UsageError(
                "--registry has a password in it, which every user of this machine can read",
                hint="leave it out and set PGPASSWORD or PGPASSFILE, or write the address into the settings file",
            )


def _check_registry(loaded: Loaded[S], config: Path) -> None:
    """Raises ConfigError where the settings file has a password that others can read."""
    from hippy.postgres.address import has_password
    from hippy.settings import FROM_FILE, check_secret_file

    url = getattr(loaded.settings, "registry", None)  # a validator's
    if url is not None and loaded.sources["registry"] == FROM_FILE and has_password(url):
        check_secret_file(config, "--config")


def hotkey_of(settings: NodeSettings) -> tuple[str, Path]:
    """Return the setting that names the hotkey, and its file. Raises ConfigError for a wallet's name that is none."""
    from hippy.chain.wallet import Wallet

    if settings.hotkey_file is not None:
        return "hotkey_file", settings.hotkey_file
    assert settings.wallet_name is not None  # hippy.settings has checked
    wallet = Wallet.named(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    return "wallet_name", wallet.hotkey_file


def print_settings(loaded: Loaded[S], *, as_json: bool) -> None:
    """Print every setting with its source: as JSON, or as lines that a settings file may have."""
    values = {field: _shown(field, value) for field, value in loaded.settings.model_dump(mode="json").items()}
    if as_json:
        print_json({"settings": values, "sources": dict(loaded.sources)})
        return
    for field, value in values.items():
        line = f"# {field} is not set" if value is None else f"{field} = {_toml(value)}"
        click.echo(f"{line:<60}  # {loaded.sources[field]}")


def _shown(field: str, value: Any) -> Any:
    """Return a setting's value without what may be a secret."""
    from hippy.postgres import address
    from hippy.settings import masked

    return address.masked(value) if field == "registry" and value is not None else masked(value)


def _toml(value: Any) -> str:
    """Return a value as TOML has it; JSON's strings and numbers are TOML's."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(each)}" for key, each in value.items() if each is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
