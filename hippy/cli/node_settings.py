"""A node's settings as its commands load and show them.

Beside what hippy.settings checks, the file of the hotkey is looked at, wherever it is named: a secret that others can
read is no secret, so no node starts with one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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

    loaded = load_with_sources(kind, config, {field: value for field, value in options.items() if value is not None})
    setting, path = hotkey_of(loaded.settings)
    check_secret_file(path, setting)
    return loaded


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
    from hippy.settings import masked

    values = {field: masked(value) for field, value in loaded.settings.model_dump(mode="json").items()}
    if as_json:
        print_json({"settings": values, "sources": dict(loaded.sources)})
        return
    for field, value in values.items():
        line = f"# {field} is not set" if value is None else f"{field} = {_toml(value)}"
        click.echo(f"{line:<60}  # {loaded.sources[field]}")


def _toml(value: Any) -> str:
    """Return a value as TOML has it; JSON's strings and numbers are TOML's."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(each)}" for key, each in value.items() if each is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
