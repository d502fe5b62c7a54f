"""``hippy net up | status | kill | start | down``: a local network of real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from hippy.cli.net_up import check_numbers, forget, remember, run_detached, run_here, say_up, use_running
from hippy.cli.printing import counted, json_option, print_json

DOWN_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05
MINERS_MAX: Final = 199
"""hippy.net.plan.NODES_MAX less a validator; not imported, for it would be at every start."""

_dir = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The network's directory (default: the one in use, else a fixed place).",
)


@click.group()
def net() -> None:
    """Run a local storage network: real processes on loopback addresses."""


@net.command()
@click.option("--miners", type=click.IntRange(1, MINERS_MAX), help="How many miners (default 10).")
@click.option("--validators", type=click.IntRange(1, 16), help="How many validators (default 1).")
@_dir
@click.option("-d", "--detach", is_flag=True, help="Return when the network is up and leave it running.")
@json_option
def up(miners: int | None, validators: int | None, directory: Path | None, detach: bool, as_json: bool) -> None:
    """Start a network and return (-d) or stay until Ctrl-C.

    A network that was stopped goes on where it was, with all its data; one that runs becomes the one in use. The
    first start makes an account with quota; client commands find it by themselves.
    """
    from hippy.cli.running import run
    from hippy.net.plan import load_plan
    from hippy.net.supervisor import is_supervised

    place = _directory(directory)
    plan = load_plan(place)
    check_numbers(place, plan, miners, validators)
    if plan is not None and is_supervised(place):
        use_running(plan, as_json=as_json)
    elif detach:
        say_up(run_detached(place, miners, validators), as_json=as_json)
        remember(place)
    else:
        run(run_here(place, miners, validators, as_json=as_json))


@net.command()
@_dir
@json_option
def status(directory: Path | None, as_json: bool) -> None:
    """Show the nodes of the running network."""
    import asyncio

    from hippy.net.control import command

    place = _directory(directory)
    answer = asyncio.run(command(place, "status"))
    if as_json:
        print_json({"directory": str(place), **answer})
        return
    for node in answer["nodes"]:
        pid = f"pid {node['pid']}" if node["pid"] else ""
        click.echo(f"{node['name']:<14}{node['state']:<10}{node['endpoint']:<24}{pid:<14}{_lag(node, answer)}".rstrip())
    for node in answer["nodes"]:
        if node["role"] == "validator" and node["state"] == "running":
            click.echo(f"network page of {node['name']}: http://{node['endpoint']}/")


def _lag(node: dict[str, Any], answer: dict[str, Any]) -> str:
    """Return how far a validator is behind the logs of the others; there is nothing to say of one alone."""
    validators = sum(each["role"] == "validator" for each in answer["nodes"])
    behind = node.get("behind")
    if validators < 2 or behind is None:
        return ""
    return "has all records of the others" if behind == 0 else f"{counted(behind, 'record')} behind the others"


@net.command()
@click.argument("nodes", nargs=-1, required=True)
@_dir
@json_option
def kill(nodes: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """End nodes with SIGKILL, as a power cut would."""
    _each(_directory(directory), "kill", nodes, "killed", as_json=as_json)


@net.command()
@click.argument("nodes", nargs=-1, required=True)
@_dir
@json_option
def start(nodes: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Start nodes that were killed, with the data they had."""
    _each(_directory(directory), "start", nodes, "started", as_json=as_json)


def _each(directory: Path, name: str, nodes: tuple[str, ...], done: str, *, as_json: bool) -> None:
    """Send one command for every node; none if one of the names is wrong."""
    import asyncio

    from hippy.net.control import command
    from hippy.net.plan import load_plan

    names = list(dict.fromkeys(nodes))
    plan = load_plan(directory)
    for node in names:
        if plan is not None:
            plan.node(node)
    for node in names:
        asyncio.run(command(directory, name, node))
        if not as_json:
            click.echo(f"{node} {done}", err=True)
    if as_json:
        print_json({"directory": str(directory), done: names})


@net.command()
@_dir
@json_option
def down(directory: Path | None, as_json: bool) -> None:
    """Stop the network; its data stays."""
    import asyncio
    import time

    from hippy.errors import DeadlineError
    from hippy.net.control import command
    from hippy.net.supervisor import is_supervised

    place = _directory(directory)
    asyncio.run(command(place, "down"))
    deadline = time.monotonic() + DOWN_SECONDS
    while is_supervised(place):
        if time.monotonic() > deadline:
            raise DeadlineError("the network is still stopping", hint="hippy net status")
        time.sleep(POLL_SECONDS)
    forget(place)
    if as_json:
        print_json({"directory": str(place), "state": "down"})
    else:
        click.echo("network down", err=True)


def _directory(given: Path | None) -> Path:
    """Return the directory meant: the one given, the network in use, or the usual place."""
    from hippy.client.home import find_home, find_local_network

    return (given or find_local_network() or find_home().state / "net").absolute()
