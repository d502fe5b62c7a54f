"""``hippy net up | status | kill | start | down``: a local network of real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hippy.net.plan import NetworkPlan
    from hippy.net.supervisor import Supervisor

DOWN_SECONDS = 20.0

_dir = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The network's directory (default: the one in use, else a fixed place).",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def net() -> None:
    """Run a local storage network: real processes on loopback addresses."""


@net.command()
@click.option("--miners", type=click.IntRange(1, 200), help="How many miners (default 10).")
@click.option("--validators", type=click.IntRange(1, 16), help="How many validators (default 1).")
@_dir
@click.option("-d", "--detach", is_flag=True, help="Return when the network is up and leave it running.")
def up(miners: int | None, validators: int | None, directory: Path | None, detach: bool) -> None:
    """Start a network and return (-d) or stay until Ctrl-C.

    A network that was stopped goes on where it was, with all its data. The first start makes an account with
    quota; client commands find it by themselves.
    """
    from hippy.cli.running import run

    place = _directory(directory)
    if detach:
        _up_detached(place, miners, validators)
    else:
        run(_up(place, miners, validators))


async def _up(directory: Path, miners: int | None, validators: int | None) -> None:
    from hippy.clock import SystemClock
    from hippy.net.control import controlled
    from hippy.net.supervisor import supervising

    clock = SystemClock()
    plan = await _plan(directory, miners, validators)
    started = clock.now()
    async with supervising(plan, clock=clock) as supervisor, controlled(supervisor) as control:
        await supervisor.wait_ready()
        _remember(directory)
        _say_up(supervisor, clock.now() - started)
        await control.down.wait()
    click.echo("network down", err=True)


async def _plan(directory: Path, miners: int | None, validators: int | None) -> NetworkPlan:
    from hippy.clock import SystemClock
    from hippy.errors import UsageError
    from hippy.net.plan import create_plan, load_plan

    plan = load_plan(directory)
    if plan is None:
        return await create_plan(directory, miners=miners or 10, validators=validators or 1, clock=SystemClock())
    for role, wanted in (("miner", miners), ("validator", validators)):
        there = sum(node.role == role for node in plan.nodes)
        if wanted is not None and wanted != there:
            raise UsageError(
                f"the network in {directory} has {there} {role}s, not {wanted}",
                hint="leave the number out to start it as it is, or choose another --dir",
            )
    return plan


def _up_detached(directory: Path, miners: int | None, validators: int | None) -> None:
    """Start a supervisor in a session of its own and wait until it says the network is up."""
    import subprocess
    import sys
    import time

    from hippy.errors import ConfigError, TemporaryError
    from hippy.net.plan import UP_LOG
    from hippy.net.supervisor import is_supervised

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_supervised(directory):
        raise ConfigError(f"the network in {directory} runs already", hint="hippy net status")
    log = directory / UP_LOG
    command = [sys.executable, "-m", "hippy.cli", "net", "up", "--dir", str(directory)]
    command += [f"--miners={miners}"] if miners else []
    command += [f"--validators={validators}"] if validators else []
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    while process.poll() is None:
        status = _status(directory)
        if status is not None and status["ready"]:
            click.echo(log.read_text(encoding="utf-8"), err=True, nl=False)
            return
        time.sleep(0.05)
    raise TemporaryError(f"the network did not come up:\n{log.read_text(encoding='utf-8').strip()}")


def _status(directory: Path) -> dict[str, object] | None:
    import asyncio

    from hippy.errors import ConfigError
    from hippy.net.control import command

    try:
        status: dict[str, object] = asyncio.run(command(directory, "status"))
    except ConfigError:
        return None
    return status


def _say_up(supervisor: Supervisor, seconds: float) -> None:
    nodes = supervisor.plan.nodes
    miners = sum(node.role == "miner" for node in nodes)
    click.echo(
        f"{miners} miners and {len(nodes) - miners} validator(s) up in {seconds:.1f} s, {supervisor.plan.directory}\n"
        "next:\n"
        "  hippy put -r DIR hippy://bucket/dir/     store a directory\n"
        "  hippy ls hippy://bucket/dir/             see it\n"
        "  hippy net kill miner1                    pull a plug\n"
        "  hippy get -r hippy://bucket/dir/ OUT     get it back\n"
        "  hippy net down                           stop the network",
        err=True,
    )


@net.command()
@_dir
@_json
def status(directory: Path | None, as_json: bool) -> None:
    """Show the nodes of the running network."""
    import asyncio

    from hippy.net.control import command

    place = _directory(directory)
    answer = asyncio.run(command(place, "status"))
    if as_json:
        click.echo(json.dumps({"directory": str(place), **answer}))
        return
    for node in answer["nodes"]:
        pid = f"pid {node['pid']}" if node["pid"] else ""
        click.echo(f"{node['name']:<14}{node['state']:<10}{node['endpoint']:<24}{pid}")


@net.command()
@click.argument("nodes", nargs=-1, required=True)
@_dir
def kill(nodes: tuple[str, ...], directory: Path | None) -> None:
    """End nodes with SIGKILL, as a power cut would."""
    _each(directory, "kill", nodes, "killed")


@net.command()
@click.argument("nodes", nargs=-1, required=True)
@_dir
def start(nodes: tuple[str, ...], directory: Path | None) -> None:
    """Start nodes that were killed, with the data they had."""
    _each(directory, "start", nodes, "started")


def _each(directory: Path | None, name: str, nodes: tuple[str, ...], done: str) -> None:
    import asyncio

    from hippy.net.control import command

    for node in nodes:
        asyncio.run(command(_directory(directory), name, node))
        click.echo(f"{node} {done}", err=True)


@net.command()
@_dir
def down(directory: Path | None) -> None:
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
        time.sleep(0.05)
    click.echo("network down", err=True)


def _directory(given: Path | None) -> Path:
    """Return the directory meant: the one given, the network in use, or the usual place."""
    from hippy.client.home import find_home, find_local_network

    return (given or find_local_network() or find_home().state / "net").absolute()


def _remember(directory: Path) -> None:
    """Let client commands find this network; a login goes before it."""
    from hippy.client.home import find_home

    home = find_home()
    home.local_network.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.local_network.write_text(f"{directory}\n", encoding="utf-8")
    if home.credentials.exists():
        click.echo(f"note: commands use your login; for this network: export HIPPY_NET={directory}", err=True)
