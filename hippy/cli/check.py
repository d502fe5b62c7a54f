"""``hippy check``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.choosing import matched
from hippy.cli.opening import refuse_directory, with_client
from hippy.cli.printing import counted, json_option, print_json, report_failures, shown
from hippy.errors import NotFoundError

if TYPE_CHECKING:
    from hippy.client.results import CheckResult, Failure, Health
    from hippy.client.sdk import AsyncClient

EXIT_REDUCED: Final = 1
EXIT_LOST: Final = 6
WORDS: Final = {"full": "full", "repairable": "repairable", "at_risk": "at risk", "lost": "lost"}


@click.command()
@click.argument("uris", nargs=-1, required=True, metavar="hippy://BUCKET/PATH...")
@click.option("-r", "--recursive", is_flag=True, help="Check everything below each PATH.")
@click.option("-a", "--all", "show_all", is_flag=True, help="List the objects that are in full order too.")
@json_option
def check(uris: tuple[str, ...], recursive: bool, show_all: bool, as_json: bool) -> int:
    """Ask miners whether they still have what objects are made of.

    Each miner that holds a piece is asked for one random leaf of it with its proof. An object is "full" when every
    piece answers, "repairable" when some do not, "at risk" when no more pieces answer than repair waits for, "lost"
    when they are too few to read it now. PATH may be a quoted pattern (* ? [...] **).

    \b
    Exit code  0  every piece answers
               1  some do not, or an object is not there; the others can be read
               6  something cannot be read
    """
    from hippy.client.uri import parse_uri

    for uri in uris:
        parsed = parse_uri(uri)
        if not recursive:
            refuse_directory(parsed, hint=f"hippy check -r {uri}")

    async def work(client: AsyncClient) -> CheckResult:
        targets = await matched(client, uris, directories=recursive)
        return await client.check_many([str(target) for target in targets], recursive=recursive)

    result = with_client(work, as_json=as_json, quiet=False)
    if result.failures and not result.objects and len(uris) == 1:
        raise result.failures[0].error
    return _report(result, show_all=show_all, as_json=as_json)


def _report(result: CheckResult, *, show_all: bool, as_json: bool) -> int:
    counts = {verdict: sum(each.verdict == verdict for each in result.objects) for verdict in WORDS}
    shown_objects = [each for each in result.objects if show_all or each.verdict != "full"]
    told = report_failures(result.failures, as_json=as_json)
    if as_json:
        objects = [_described(each) for each in shown_objects]
        print_json({"checked": len(result.objects), **counts, "objects": objects, "failures": told})
    else:
        for each in shown_objects:
            click.echo(f"{WORDS[each.verdict]:10}  {_pieces(each)}  {shown(each.uri)}")
        click.echo(_summary(len(result.objects), counts, result.failures), err=True)
        _advise(counts, result)
    return exit_code(counts, result.failures)


def exit_code(counts: dict[str, int], failures: Sequence[Failure]) -> int:
    """Return 0 where every piece answers, 6 where something cannot be read, else 1: also for what is not there."""
    if counts["lost"] or not all(isinstance(failure.error, NotFoundError) for failure in failures):
        return EXIT_LOST
    return EXIT_REDUCED if counts["repairable"] or counts["at_risk"] or failures else 0


def _pieces(health: Health) -> str:
    told = f"{health.ok} of {health.ok + health.missing + health.bad} pieces"
    parts = [f"{count} {word}" for count, word in ((health.missing, "missing"), (health.bad, "bad")) if count]
    return f"{told} ({', '.join(parts)})" if parts else told


def _summary(checked: int, counts: dict[str, int], failures: Sequence[Failure]) -> str:
    absent = sum(isinstance(failure.error, NotFoundError) for failure in failures)
    told = {WORDS[verdict]: count for verdict, count in counts.items()}
    told |= {"unreadable": len(failures) - absent, "not there": absent}
    parts = [f"{count:,} {word}" for word, count in told.items() if count]
    return f"{counted(checked, 'object')} checked: {', '.join(parts) or 'nothing'}"


def _advise(counts: dict[str, int], result: CheckResult) -> None:
    """Say what to do where something is not in order."""
    if counts["lost"] and not any(each.ok for each in result.objects):
        click.echo("hint: no miner answered: is this machine online? hippy doctor", err=True)
    elif counts["lost"]:
        click.echo("hint: miners may be away for a while: check again later, or put what you still have", err=True)
    elif counts["at_risk"]:
        click.echo("hint: read them while you can (hippy get) and put them again", err=True)


def _described(health: Health) -> dict[str, object]:
    return {
        "uri": health.uri,
        "verdict": health.verdict,
        "pieces_ok": health.ok,
        "pieces_missing": health.missing,
        "pieces_bad": health.bad,
    }
