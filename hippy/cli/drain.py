"""``hippy miner drain``: have a miner that runs on this machine leave, and show how much of it is left.

The miner does the work (hippy.miner.draining) and keeps the wish over restarts; this command talks to its admin port,
with the token from its data directory, and may end at any time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import counted, human_bytes, json_option, print_json, shown

if TYPE_CHECKING:
    from hippy.endpoint import Endpoint
    from hippy.miner.drains import Action
    from hippy.miner.settings import MinerSettings

POLL_SECONDS: Final = 1.0
PLAIN_SECONDS: Final = 10.0
"""Between two lines where nobody looks at a terminal."""

_WHICH: Final = (
    "hippy miner drain --config miner.toml, or a miner of the local network in use: hippy miner drain miner3"
)
_CLEAR_LINE: Final = "\r\x1b[2K"


@dataclass(frozen=True, slots=True)
class _Node:
    """The miner to talk to."""

    place: Endpoint
    token: str
    is_local: bool

    async def ask(self, method: str, body: bytes = b"") -> dict[str, Any]:
        """Return how far the drain is. Raises HippyError."""
        from hippy.miner.drain_routes import DRAIN_PATH
        from hippy.transport.admin_client import ask

        return await ask(self.place, method, DRAIN_PATH, token=self.token, body=body)


@click.command("drain")
@click.argument("miner", required=False, metavar="[MINER]")
@click.option("--config", type=click.Path(path_type=Path), help="The miner's TOML settings.")
@click.option("--stop", is_flag=True, help="Stay after all: take new pieces again.")
@click.option("--no-wait", is_flag=True, help="Do not wait until nothing is left.")
@json_option
def drain(miner: str | None, config: Path | None, stop: bool, no_wait: bool, as_json: bool) -> None:
    """Leave: take nothing new, and have all pieces copied to other miners.

    The miner has to run until nothing is left, which this command waits for; interrupted, or after a restart, the drain
    goes on. MINER is a node of the local network in use (miner3); any other miner is named by its settings.
    """
    from hippy.cli.running import run

    node = _node(miner, config)
    if stop:
        _show_stopped(run(_wish(node, "stop")), as_json=as_json)
        return
    display = _Display(is_quiet=as_json)
    try:
        state = run(_leave(node, display.show, is_waiting=not no_wait))
    except KeyboardInterrupt:
        display.end()
        click.echo("the drain goes on; hippy miner drain --stop ends it", err=True)
        raise
    display.end()
    _show_end(state, node, as_json=as_json)


def _show_end(state: dict[str, Any], node: _Node, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
    elif not state["draining"]:
        click.echo("the drain was stopped meanwhile: the miner stays")
    elif state["done"]:
        served = "" if node.is_local else "; while it runs, what it had is served for 7 days"
        click.echo(f"nothing left, stop the miner when you like{served}")
    else:
        click.echo(f"the miner is leaving: {_line(state)}")


def _node(miner: str | None, config: Path | None) -> _Node:
    """Return the miner that is meant.

    Raises UsageError where none is named, ConfigError for settings without an admin port and a token that is none.
    """
    from hippy.endpoint import Endpoint
    from hippy.errors import ConfigError, UsageError
    from hippy.miner.settings import MinerSettings
    from hippy.settings import load_settings
    from hippy.transport.admin_token import read_token

    if (miner is None) == (config is None):
        raise UsageError("which miner?" if miner is None else "MINER or --config, not both", hint=_WHICH)
    path = config if config is not None else _local_settings(str(miner))
    settings = load_settings(MinerSettings, path)
    if settings.admin_port is None:
        raise ConfigError(f"{path} sets no admin_port", hint="add admin_port = 4101, and restart the miner")
    place = Endpoint(settings.admin_host, settings.admin_port)
    return _Node(place, read_token(settings.data_dir), _is_local(settings))


def _is_local(settings: MinerSettings) -> bool:
    """Return whether waiting times are those of short epochs."""
    return settings.network.startswith(("local:", "private:"))


def _local_settings(name: str) -> Path:
    """Return the settings of a miner of the local network in use. Raises UsageError where there is none."""
    from hippy.client.home import find_local_network
    from hippy.errors import UsageError
    from hippy.net.plan import load_plan

    directory = find_local_network()
    plan = load_plan(directory) if directory is not None else None
    if plan is None:
        raise UsageError(f"no local network is in use that could have a node {name!r}", hint=_WHICH)
    node = plan.node(name)
    if node.role != "miner":
        raise UsageError(f"{name} is a {node.role}", hint=_WHICH)
    return plan.settings_file(node)


async def _wish(node: _Node, action: Action) -> dict[str, Any]:
    """Tell the miner what is wished, and return how far it is. Raises UnreachableError when it does not run."""
    from hippy.errors import UnreachableError
    from hippy.miner.drain_routes import DrainWish

    try:
        return await node.ask("POST", DrainWish(action=action).encode())
    except UnreachableError:
        raise UnreachableError(
            f"the miner does not run, or not with its admin port at {node.place}",
            hint="start it: only a miner that runs can leave, its pieces are copied from it",
        ) from None


async def _leave(node: _Node, show: Callable[[Mapping[str, Any]], None], *, is_waiting: bool) -> dict[str, Any]:
    """Have the miner leave; return how far it is, when nothing is left where that is waited for."""
    import asyncio

    from hippy.errors import TemporaryError

    state = await _wish(node, "start")
    while is_waiting and not state["done"]:
        show(state)
        await asyncio.sleep(POLL_SECONDS)
        try:
            state = await node.ask("GET")
        except TemporaryError as error:
            raise type(error)(error.message, hint="the drain goes on when the miner runs; then look again") from None
        if not state["draining"]:
            break  # somebody took it back
    return state


class _Display:
    """Shows how far it is: a line that changes on a terminal, else one now and then when it has changed."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty()
        self._shown = ""
        self._shown_time = float("-inf")

    def show(self, state: Mapping[str, Any]) -> None:
        """Show a state, unless it is shown."""
        line, now = _line(state), time.monotonic()
        if self._is_quiet or line == self._shown:
            return
        if self._is_terminal:
            click.echo(f"{_CLEAR_LINE}{line}", nl=False, err=True)
        elif now - self._shown_time >= PLAIN_SECONDS:
            click.echo(line, err=True)
        else:
            return
        self._shown, self._shown_time = line, now

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._is_terminal and self._shown:
            click.echo(_CLEAR_LINE, nl=False, err=True)


def _show_stopped(state: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    click.echo("the miner stays, and takes new pieces again; what was copied until now stays copied")


def _line(state: Mapping[str, Any]) -> str:
    """Return how far it is, in a line."""
    if not state["complete"]:
        return "looking up who is owed pieces"
    told = [each for each in state["validators"] if each["pieces"] is not None]
    left = sum(each["pieces"] for each in told), sum(each["bytes"] for each in told)
    line = f"{counted(left[0], 'piece')} ({human_bytes(left[1])}) left at {counted(len(told), 'validator')}"
    silent = [each for each in state["validators"] if each["error"] is not None]
    if not silent:
        return line if len(told) == len(state["validators"]) else f"{line}, asking the others"
    first = silent[0]
    more = "" if len(silent) == 1 else f", nor do {len(silent) - 1} more"
    owed = f"{counted(first['owed_pieces'], 'piece')} ({human_bytes(first['owed_bytes'])})"
    return f"{line}; {first['validator']}, which is owed {owed}, does not answer: {shown(first['error'])}{more}"
