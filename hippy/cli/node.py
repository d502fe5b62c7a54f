"""``hippy miner run``, ``hippy validator run`` and their ``settings``; other subcommands have modules of their own.

Options that name a network or a wallet win over the environment, which wins over the settings file.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from hippy.cli.drain import drain
from hippy.cli.explain import explain
from hippy.cli.network_options import network_options, wallet_options
from hippy.cli.node_settings import load_checked, print_settings, registry_options
from hippy.cli.printing import json_option
from hippy.cli.validator_account import account
from hippy.cli.verify_weights import verify_weights

if TYPE_CHECKING:
    from hippy.clock import Clock
    from hippy.endpoint import Endpoint
    from hippy.settings import NodeSettings

S = TypeVar("S", bound="NodeSettings")
S_contra = TypeVar("S_contra", bound="NodeSettings", contravariant=True)

_config = click.option("--config", type=click.Path(path_type=Path), required=True, help="The node's TOML settings.")
_with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="Stop when standard input closes.")


@click.group()
def miner() -> None:
    """Run a miner: rent out disk space."""


@click.group()
def validator() -> None:
    """Run a validator: keep the registry and choose where pieces go."""


miner.add_command(drain)
miner.add_command(explain)
validator.add_command(verify_weights)
validator.add_command(account)


@miner.command("run")
@_config
@network_options(required=False)
@wallet_options(required=False)
@_with_parent
def miner_run(config: Path, with_parent: bool, **options: Any) -> None:
    """Serve pieces until stopped.

    Options win over HIPPY_<SETTING> in the environment, which wins over the settings file.
    """
    from hippy.miner.server import run_miner
    from hippy.miner.settings import MinerSettings

    _serve(MinerSettings, run_miner, config, options, with_parent=with_parent)


@validator.command("run")
@_config
@registry_options
@network_options(required=False)
@wallet_options(required=False)
@_with_parent
def validator_run(config: Path, with_parent: bool, **options: Any) -> None:
    """Keep the registry until stopped.

    Options win over HIPPY_<SETTING> in the environment, which wins over the settings file.
    """
    from hippy.validator.server import run_validator
    from hippy.validator.settings import ValidatorSettings

    _serve(ValidatorSettings, run_validator, config, options, with_parent=with_parent)


@miner.command("settings")
@_config
@network_options(required=False)
@wallet_options(required=False)
@json_option
def miner_settings(config: Path, as_json: bool, **options: Any) -> None:
    """Check a miner's settings and print what is in force, and where it is from.

    Nothing is started. What may be a key is masked. Exits with 11 when a setting is wrong.
    """
    from hippy.miner.settings import MinerSettings

    print_settings(load_checked(MinerSettings, config, options), as_json=as_json)


@validator.command("settings")
@_config
@registry_options
@network_options(required=False)
@wallet_options(required=False)
@json_option
def validator_settings(config: Path, as_json: bool, **options: Any) -> None:
    """Check a validator's settings and print what is in force, and where it is from.

    Nothing is started. What may be a key is masked. Exits with 11 when a setting is wrong.
    """
    from hippy.validator.settings import ValidatorSettings

    print_settings(load_checked(ValidatorSettings, config, options), as_json=as_json)


class _RunNode(Protocol[S_contra]):
    """How each role's server is started."""

    def __call__(
        self, settings: S_contra, *, clock: Clock, ready: Callable[[Endpoint], None]
    ) -> Coroutine[Any, Any, None]: ...


def _serve(kind: type[S], run_node: _RunNode[S], config: Path, options: dict[str, Any], *, with_parent: bool) -> None:
    from hippy.cli.running import run_daemon
    from hippy.clock import SystemClock

    settings = load_checked(kind, config, options).settings
    _log_to_stderr(settings.log_level)
    run_daemon(run_node(settings, clock=SystemClock(), ready=_say_ready), with_parent=with_parent)


def _say_ready(endpoint: object) -> None:
    from hippy.cli.notify import notify

    click.echo(f"listening on {endpoint}", err=True)
    notify(f"READY=1\nSTATUS=listening on {endpoint}")


def _log_to_stderr(level: str) -> None:
    from hippy.cli.logs import log_to_stderr

    log_to_stderr(level)
