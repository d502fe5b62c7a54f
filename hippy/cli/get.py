"""``hippy get`` and ``hippy cat``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hippy.cli.choosing import dry_run_option, exclude_option, include_option, print_plan, refuse_filters
from hippy.cli.opening import refuse_directory, with_client
from hippy.cli.printing import (
    counted,
    failures_exit_code,
    human_bytes,
    json_option,
    print_json,
    rate,
    report_failures,
)
from hippy.errors import UsageError

if TYPE_CHECKING:
    from hippy.client.results import GetResult, Pair
    from hippy.client.sdk import AsyncClient


@click.command()
@click.argument("source", metavar="hippy://BUCKET/PATH")
@click.argument("destination", metavar="DST")
@click.option("-r", "--recursive", is_flag=True, help="Fetch everything below PATH into the directory DST.")
@include_option
@exclude_option
@dry_run_option
@json_option
def get(
    source: str,
    destination: str,
    recursive: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Fetch objects into files.

    One object becomes the file DST, or a file inside DST when that is a directory or ends in a slash; DST "-" is
    standard output. PATH may be a quoted pattern (* ? [...] within a name, ** for any directories): what it matches,
    with -r directories too, goes into the directory DST. A name that is there exactly as written is meant itself.
    A file appears under its name only when it is whole and its hash is right.
    """
    from hippy.client.uri import parse_uri

    uri = parse_uri(source)
    if destination == "-":
        if recursive or as_json or dry_run:
            raise UsageError("standard output takes one object and nothing else", hint="leave -r, -n and --json out")
        return _write_out(source)
    if not recursive:
        refuse_directory(uri, hint=f"hippy get -r {uri} {destination}")
        refuse_filters(include, exclude)
    path = Path(destination)
    target = path / uri.name if destination.endswith("/") or path.is_dir() else path

    async def work(client: AsyncClient) -> GetResult:
        if await client.glob(source, directories=recursive) is not None:
            return await client.get_glob(source, path, recursive=recursive, include=include, exclude=exclude)
        if recursive:
            return await client.get_dir(str(uri), path, include=include, exclude=exclude)
        return await client.get_file(str(uri), target)

    async def plan(client: AsyncClient) -> list[Pair]:
        pairs = await client.plan_get(source, recursive=recursive, include=include, exclude=exclude)
        if not recursive and await client.glob(source) is None:
            return [replace(pair, target=str(target)) for pair in pairs]
        return [replace(pair, target=str(path / pair.target)) for pair in pairs]

    if dry_run:
        return print_plan("fetch", with_client(plan), as_json=as_json)
    return _report(with_client(work, as_json=as_json, quiet=False), as_json=as_json)


@click.command()
@click.argument("source", metavar="hippy://BUCKET/PATH")
def cat(source: str) -> int:
    """Write an object to standard output.

    Every piece is checked before it is written; the hash of the whole comes last, so look at the exit code.
    """
    return _write_out(source)


def _write_out(source: str) -> int:
    from hippy.client.uri import parse_uri

    refuse_directory(parse_uri(source), hint=f"hippy get -r {source} DIR")

    async def work(client: AsyncClient) -> GetResult:
        return await client.get_to(source, sys.stdout.buffer)

    with_client(work)
    return 0


def _report(result: GetResult, *, as_json: bool) -> int:
    told = report_failures(result.failures, as_json=as_json)
    if as_json:
        print_json(
            {"files": result.files, "bytes": result.bytes, "seconds": round(result.seconds, 3), "failures": told}
        )
    else:
        failed = f", {len(result.failures)} failed" if result.failures else ""
        speed = rate(result.bytes, result.seconds)
        files = counted(result.files, "file")
        click.echo(
            f"{files}, {human_bytes(result.bytes)} fetched in {result.seconds:.1f} s, {speed}{failed}",
            err=True,
        )
    return failures_exit_code(result.failures)
