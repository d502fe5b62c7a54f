"""``hippy cp`` and ``hippy mv``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hippy.cli.choosing import dry_run_option, if_absent_option, print_plan
from hippy.cli.opening import with_client
from hippy.cli.printing import (
    counted,
    failures_exit_code,
    human_bytes,
    json_option,
    print_json,
    report_failures,
)
from hippy.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from hippy.client.results import CopyResult, Pair
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="hippy://SRC...")
@click.argument("destination", metavar="hippy://DST")
@click.option("-r", "--recursive", is_flag=True, help="Copy everything below each SRC.")
@if_absent_option
@dry_run_option
@json_option
def cp(
    sources: tuple[str, ...], destination: str, recursive: bool, if_absent: bool, dry_run: bool, as_json: bool
) -> int:
    """Copy objects inside the network, without moving their data.

    One object becomes DST, or goes below it when DST ends in a slash. With -r what is below SRC is then below DST.
    Several sources, or a quoted pattern (* ? [...] **), need the slash, and each goes to DST/NAME.
    """
    return _run("cp", sources, destination, recursive=recursive, if_absent=if_absent, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="hippy://SRC...")
@click.argument("destination", metavar="hippy://DST")
@if_absent_option
@dry_run_option
@json_option
def mv(sources: tuple[str, ...], destination: str, if_absent: bool, dry_run: bool, as_json: bool) -> int:
    """Move objects inside the network, without moving their data.

    As cp does, with -r where SRC is a directory. Each object is deleted once its copy is durable; one that somebody
    changes meanwhile stays.
    """
    return _run("mv", sources, destination, recursive=False, if_absent=if_absent, dry_run=dry_run, as_json=as_json)


def _run(
    command: str,
    sources: tuple[str, ...],
    destination: str,
    *,
    recursive: bool,
    if_absent: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    from hippy.client.uri import parse_uri

    _refuse_local(sources, destination)
    is_move = command == "mv"
    target = parse_uri(destination)
    if len(sources) > 1 and not target.slash:
        raise UsageError("several sources need a destination that ends in a slash", hint=f"{target}/")
    for source in sources:
        if parse_uri(source).slash and not (recursive or is_move):
            raise UsageError(f"{source} names a directory", hint=f"hippy cp -r {source} {destination}")

    async def work(client: AsyncClient) -> tuple[list[Pair], CopyResult | None]:
        pairs = [
            pair
            for source in sources
            for pair in await _plan(client, source, target, many=len(sources) > 1, recursive=recursive, is_move=is_move)
        ]
        if dry_run:
            return pairs, None
        return pairs, await client.copy_planned(pairs, if_absent=if_absent, move=is_move)

    pairs, result = with_client(work, as_json=as_json, quiet=dry_run)
    if result is None:
        return print_plan("move" if is_move else "copy", pairs, as_json=as_json)
    if len(pairs) == 1 and result.failures:
        raise result.failures[0].error
    return _report("moved" if is_move else "copied", result, as_json=as_json)


async def _plan(
    client: AsyncClient, source: str, target: Uri, *, many: bool, recursive: bool, is_move: bool
) -> list[Pair]:
    from hippy.client.results import Pair
    from hippy.client.uri import Uri, parse_uri

    uri = parse_uri(source)
    entries = await client.glob(source, directories=recursive or is_move)
    if entries is None and not many:
        return await _plan_one(client, uri, target, recursive=recursive, is_move=is_move)
    if not target.slash:
        raise UsageError(f"a pattern needs a destination that ends in a slash, not {target}", hint=f"{target}/")
    if entries is None:
        return await _plan_one(client, uri, target.below(uri.name), recursive=recursive, is_move=is_move)
    pairs: list[Pair] = []
    for entry in entries:
        each = Uri(uri.bucket, tuple(entry.path.split("/")), slash=entry.is_dir)
        if entry.is_dir:
            pairs += await client.plan_copy(str(each), str(target.below(each.name)), recursive=True)
        else:
            pairs.append(Pair(str(each), str(target.below(each.name)), entry.size))
    return pairs


async def _plan_one(client: AsyncClient, source: Uri, target: Uri, *, recursive: bool, is_move: bool) -> list[Pair]:
    if not is_move or source.slash:
        return await client.plan_copy(str(source), str(target), recursive=recursive or is_move)
    try:
        return await client.plan_copy(str(source), str(target))
    except NotFoundError:
        return await client.plan_copy(str(source), str(target), recursive=True)


def _refuse_local(sources: tuple[str, ...], destination: str) -> None:
    from hippy.client.uri import is_uri

    local = [each for each in sources if not is_uri(each)]
    if local and is_uri(destination):
        raise UsageError(
            f"{local[0]} is no hippy:// address: this command works inside the network",
            hint=f"hippy put {local[0]} {destination}",
        )
    if not is_uri(destination):
        raise UsageError(
            f"{destination} is no hippy:// address: this command works inside the network",
            hint=f"hippy get {sources[0]} {destination}" if is_uri(sources[0]) else "write hippy://bucket/path",
        )


def _report(done: str, result: CopyResult, *, as_json: bool) -> int:
    told = report_failures(result.failures, as_json=as_json)
    if as_json:
        print_json({"files": result.files, "bytes": result.bytes, "failures": told})
    else:
        failed = f", {len(result.failures)} failed" if result.failures else ""
        click.echo(f"{counted(result.files, 'file')}, {human_bytes(result.bytes)} {done}{failed}", err=True)
    return failures_exit_code(result.failures)
