"""How ``hippy net up`` starts a network, here or in the background, and how client commands find it afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import counted, print_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hippy.net.plan import NetworkPlan

MINERS_DEFAULT: Final = 10


def check_numbers(directory: Path, plan: NetworkPlan | None, miners: int | None, validators: int | None) -> None:
    """Refuse before anything is written: a directory that holds other things, numbers that do not fit."""
    from hippy.errors import UsageError
    from hippy.net.plan import check_new

    if plan is None:
        check_new(directory, miners=miners or MINERS_DEFAULT, validators=validators or 1)
        return
    for role, wanted, nodes in (
        ("miner", miners, plan.of_role("miner")),
        ("validator", validators, plan.of_role("validator")),
    ):
        if wanted is not None and wanted != len(nodes):
            raise UsageError(
                f"the network in {directory} has {counted(len(nodes), role)}, not {wanted}",
                hint="leave the number out to start it as it is, or choose another --dir",
            )


def use_running(plan: NetworkPlan, *, as_json: bool) -> None:
    """Make a network that runs already the one in use."""
    import asyncio

    from hippy.errors import ConfigError, TemporaryError
    from hippy.net.control import command

    try:
        asyncio.run(command(plan.directory, "status"))
    except ConfigError:
        raise TemporaryError(f"the network in {plan.directory} is just starting or stopping") from None
    remember(plan.directory)
    if as_json:
        print_json(_described(plan, seconds=0.0))
    else:
        click.echo(f"the network in {shown(str(plan.directory))} is up already; it is the one in use now", err=True)


async def run_here(directory: Path, miners: int | None, validators: int | None, *, as_json: bool) -> None:
    """Run a network until it is told to stop, by a signal or by ``hippy net down``."""
    from hippy.net.forking import prepare

    prepare()  # it imports while we do
    from hippy.clock import SystemClock
    from hippy.net.control import controlled
    from hippy.net.plan import create_plan, load_plan
    from hippy.net.supervisor import supervising

    clock = SystemClock()
    plan = load_plan(directory) or await create_plan(
        directory, miners=miners or MINERS_DEFAULT, validators=validators or 1, clock=clock
    )
    started = clock.now()
    async with supervising(plan, clock=clock) as supervisor, controlled(supervisor) as control:
        await supervisor.wait_ready()
        remember(directory)
        say_up(_described(plan, seconds=clock.now() - started), as_json=as_json)
        await control.down.wait()
    if not as_json:
        click.echo("network down", err=True)


def run_detached(directory: Path, miners: int | None, validators: int | None) -> dict[str, Any]:
    """Start a supervisor in a session of its own; return what it prints when the network is up.

    It prints to a pipe: should nobody be there to read, it fails and stops its network. How long a start may take
    is limited by the supervisor itself.
    """
    import json
    import subprocess
    import sys

    from hippy.net.plan import UP_LOG

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = directory / UP_LOG
    command = [sys.executable, "-m", "hippy.cli", "net", "up", "--json", "--dir", str(directory)]
    command += [f"--miners={miners}"] if miners else []
    command += [f"--validators={validators}"] if validators else []
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as err, _interruption_waits():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, start_new_session=True
            )
        assert process.stdout is not None
        with process.stdout as out:
            told = out.readline()
        if told:
            process.returncode = 0  # it lives on without us, which Popen would warn of
            return dict(json.loads(told))
        code = process.wait()
    except BaseException:  # Ctrl-C: what was started for us goes with us
        if process is not None:
            process.terminate()
            process.wait()
        raise
    raise _child_error(code, log.read_text(encoding="utf-8", errors="replace"))


@contextmanager
def _interruption_waits() -> Iterator[None]:
    """Keep Ctrl-C until the block is left, so that what the block starts has a name by then and can be ended.

    A handler of ours rather than a blocked signal: a child inherits what is blocked and gets back what is handled.
    """
    import signal

    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _child_error(code: int, printed: str) -> BaseException:
    """Return the error a supervisor ended with, as if it were ours."""
    import json

    from hippy.cli.outcome import EXIT_INTERRUPTED
    from hippy.errors import HippyError, from_wire

    if code == EXIT_INTERRUPTED:
        return KeyboardInterrupt()
    lines = printed.strip().splitlines() or ["it said nothing"]
    try:
        return from_wire(**json.loads(lines[-1])["error"])
    except (ValueError, KeyError, TypeError):
        return HippyError(f"the network's supervisor ended by itself: {lines[-1]}")


def _described(plan: NetworkPlan, *, seconds: float) -> dict[str, Any]:
    return {
        "directory": str(plan.directory),
        "miners": len(plan.of_role("miner")),
        "validators": len(plan.of_role("validator")),
        "page": page_of(plan),
        "seconds": round(seconds, 3),
    }


def page_of(plan: NetworkPlan) -> str:
    """Return where the network page of the first validator is."""
    return f"http://{plan.of_role('validator')[0].endpoint}/"


def say_up(network: dict[str, Any], *, as_json: bool) -> None:
    """Say that a network is up and what to type next."""
    if as_json:
        print_json(network)
        return
    click.echo(
        f"{counted(network['miners'], 'miner')} and {counted(network['validators'], 'validator')} up "
        f"in {network['seconds']:.1f} s, {shown(network['directory'])}\n"
        f"network page: {network['page']}\n"
        "next:\n"
        "  hippy put -r DIR hippy://bucket/dir/     store a directory\n"
        "  hippy ls hippy://bucket/dir/             see it\n"
        "  hippy net kill miner1                    pull a plug\n"
        "  hippy get -r hippy://bucket/dir/ OUT     get it back\n"
        "  hippy net down                           stop the network",
        err=True,
    )


def remember(directory: Path) -> None:
    """Let client commands find this network; a login goes before it."""
    from hippy.client.home import find_home

    home = find_home()
    home.local_network.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.local_network.write_text(f"{directory}\n", encoding="utf-8")
    if home.credentials.exists():
        click.echo(
            f"note: commands use your login; for this network: export HIPPY_NET={shown(str(directory))}", err=True
        )


def forget(directory: Path) -> None:
    """Let client commands say that no network is up, unless another one is in use."""
    import os

    from hippy.client.home import find_home, find_local_network

    if find_local_network({**os.environ, "HIPPY_NET": ""}) == directory:
        find_home().local_network.unlink(missing_ok=True)
