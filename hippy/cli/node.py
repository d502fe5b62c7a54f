"""``hippy miner run`` and ``hippy validator run``; their other subcommands have modules of their own.

Options that name a network or a wallet win over the environment, which wins over the settings file.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from hippy.cli.explain import explain
from hippy.cli.network_options import network_options, wallet_options
from hippy.cli.verify_weights import verify_weights

if TYPE_CHECKING:
    from hippy.clock import Clock
    from hippy.endpoint import Endpoint
    from hippy.settings import NodeSettings

S = TypeVar("S", bound="NodeSettings")
S_contra = TypeVar("S_contra", bound="NodeSettings", contravariant=True)

_config = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The node's TOML settings."
)
_with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="Stop when standard input closes.")


@click.group()
def miner() -> None:
    """Run a miner: rent out disk space."""


@click.group()
def validator() -> None:
    """Run a validator: keep the registry and choose where pieces go."""


miner.add_command(explain)
validator.add_command(verify_weights)


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


class _RunNode(Protocol[S_contra]):
    """How each role's server is started."""

    def __call__(
        self, settings: S_contra, *, clock: Clock, ready: Callable[[Endpoint], None]
    ) -> Coroutine[Any, Any, None]: ...


def _serve(kind: type[S], run_node: _RunNode[S], config: Path, options: dict[str, Any], *, with_parent: bool) -> None:
    from hippy.cli.running import run_daemon
    from hippy.clock import SystemClock
    from hippy.settings import load_settings

    given = {field: value for field, value in options.items() if value is not None}
    settings = load_settings(kind, config, given)
    _log_to_stderr(settings.log_level)
    run_daemon(run_node(settings, clock=SystemClock(), ready=_say_ready), with_parent=with_parent)


def _say_ready(endpoint: object) -> None:
    click.echo(f"listening on {endpoint}", err=True)


def _log_to_stderr(level: str) -> None:
    """Send all logging to stderr as one JSON object a line."""
    import logging
    import time

    from pythonjsonlogger.json import JsonFormatter

    fields = "{asctime}{levelname}{name}{message}"
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    formatter = JsonFormatter(fields, "%Y-%m-%dT%H:%M:%SZ", style="{", rename_fields=names)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
