"""``hippy demo``: the main job in one command on an empty machine, told in a few lines."""

from __future__ import annotations

import sysconfig
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import counted, human_bytes, json_option, print_json, rate, report_failures, shown

if TYPE_CHECKING:
    from hippy.client.results import GetResult, PutResult
    from hippy.net.plan import NetworkPlan
    from hippy.net.supervisor import Supervisor

K, N = 4, 8
MINERS: Final = 12
BLOCK_SECONDS, TEMPO_BLOCKS = 0.5, 10
"""An epoch takes 5 s, so that one is audited while people watch."""

DESTINATION: Final = "hippy://demo/files/"
EXCLUDED: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})
"""Of the standard library: what others installed, and what the interpreter can make again."""


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--miners", type=click.IntRange(N, 100), default=MINERS, show_default=True)
@json_option
def demo(directory: Path | None, miners: int, as_json: bool) -> int:
    """See it work: real files survive the death of n-k miners.

    Starts a network of real processes, stores DIRECTORY (default: Python's standard library), kills four miners
    with SIGKILL, gets every file back and compares it byte for byte. Leaves nothing behind.
    """
    from hippy.cli.running import run
    from hippy.client.walk import walk_directory
    from hippy.errors import UsageError

    source = directory or Path(sysconfig.get_paths()["stdlib"])
    if not walk_directory(source, exclude=EXCLUDED).files:
        raise UsageError(f"there are no files in {source}", hint="choose a directory with some")
    with tempfile.TemporaryDirectory(prefix="hippy-demo-") as place:
        story = run(_play(source, Path(place), miners, _Teller(quiet=as_json)))
    if as_json:
        print_json(story)
    return 0 if story["identical"] == story["files"] and not story["failures"] else 1


class _Teller:
    """Prints the story line by line, unless only its figures are wanted."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def report(self, result: PutResult | GetResult) -> None:
        """Say what was left out and why."""
        report_failures(result.failures, as_json=self._quiet)

    def tell(self, step: str, text: str) -> None:
        if not self._quiet:
            click.echo(f"{step:<9}{text}")


async def _play(source: Path, place: Path, miners: int, teller: _Teller) -> dict[str, Any]:
    from hippy.net.forking import prepare

    prepare()  # it imports while we do
    from hippy.clock import SystemClock
    from hippy.net.plan import create_plan
    from hippy.net.supervisor import supervising

    clock = SystemClock()
    teller.tell("source", shown(str(source)))
    started = time.monotonic()
    plan = await create_plan(
        place / "net",
        miners=miners,
        validators=1,
        clock=clock,
        block_seconds=BLOCK_SECONDS,
        tempo_blocks=TEMPO_BLOCKS,
    )
    async with supervising(plan, clock=clock) as supervisor:
        await supervisor.wait_ready()
        up_seconds = time.monotonic() - started
        teller.tell("network", f"{miners} miners and 1 validator, {miners + 1} processes, up in {up_seconds:.1f} s")
        story = await _store_and_get_back(supervisor, source, place / "back", teller)
        story["audit"] = await _show_audit(supervisor.plan, story["killed"], teller)
    teller.tell("network", "down, nothing left behind")
    return {"miners": miners, "up_seconds": round(up_seconds, 3), **story}


async def _store_and_get_back(supervisor: Supervisor, source: Path, back: Path, teller: _Teller) -> dict[str, Any]:
    from hippy.client.home import load_credentials, network_credentials
    from hippy.client.sdk import AsyncClient

    credentials = load_credentials(network_credentials(supervisor.plan.directory))
    async with AsyncClient.open(credentials=credentials, profile=f"{K}/{N}") as client:
        put = await client.put_dir(source, DESTINATION, exclude=EXCLUDED)
        teller.report(put)
        if not put.files:
            raise put.failures[0].error
        teller.tell("put", _moved("stored", put))
        links = counted(len(put.symlinks), "symlink")
        teller.tell("", f"{put.segments} segments of {N} sealed pieces, any {K} are enough; {links}")
        killed = [node.name for node in supervisor.plan.of_role("miner")[: N - K]]
        for name in killed:
            await supervisor.kill(name)
        teller.tell("kill", f"SIGKILL for {', '.join(killed)}")
    async with AsyncClient.open(credentials=credentials, profile=f"{K}/{N}") as client:
        got = await client.get_dir(DESTINATION, back)
        teller.report(got)
        teller.tell("get", _moved("fetched", got))
    left_out = {failure.path for failure in put.failures}
    identical, differing = _compare(source, back, left_out)
    for path in differing[:10]:
        teller.tell("", f"DIFFERS: {shown(path)}")
    teller.tell("compare", f"{identical:,} of {counted(put.files, 'file')} identical, byte for byte")
    return {
        "files": put.files,
        "bytes": put.bytes,
        "stored_bytes": put.stored_bytes,
        "put_seconds": round(put.seconds, 3),
        "killed": killed,
        "get_seconds": round(got.seconds, 3),
        "identical": identical,
        "failures": len(put.failures) + len(got.failures) + len(differing),
    }


async def _show_audit(plan: NetworkPlan, killed: Collection[str], teller: _Teller) -> dict[str, Any]:
    from hippy.cli.demo_audit import audited_epoch

    audit = await audited_epoch(plan)
    asked = audit["leaves_shown"] + audit["leaves_not_shown"]
    teller.tell(
        "audit",
        f"{audit['leaves_shown']:,} of {asked:,} random leaves shown, by {counted(audit['miners_audited'], 'miner')}; "
        f"{len(killed)} dead ones owe an answer",
    )
    weights = sorted(audit["weights"].items(), key=lambda pair: (-pair[1], pair[0]))
    teller.tell("weights", ", ".join(f"{name} {share:.1%}" for name, share in weights))
    return audit


def _moved(verb: str, result: PutResult | GetResult) -> str:
    speed = rate(result.bytes, result.seconds)
    return f"{counted(result.files, 'file')}, {human_bytes(result.bytes)} {verb} in {result.seconds:.1f} s, {speed}"


def _compare(source: Path, back: Path, left_out: Collection[str]) -> tuple[int, list[str]]:
    """Return how many files of ``source`` are the same in ``back``, and the names of those that are not.

    ``left_out`` names those that were not stored; they are in neither.
    """
    from hippy.client import file_errors
    from hippy.client.walk import walk_directory

    identical, differing = 0, []
    for found in walk_directory(source, exclude=EXCLUDED).files:
        original, copy = source.joinpath(*found.components), back.joinpath(*found.components)
        if file_errors.shown(found.components) in left_out:
            continue
        if copy.is_file() and copy.read_bytes() == original.read_bytes():
            identical += 1
        else:
            differing.append("/".join(found.components))
    return identical, differing
