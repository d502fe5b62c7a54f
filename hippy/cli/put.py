"""``hippy put``."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hippy.cli.choosing import (
    dry_run_option,
    exclude_option,
    if_absent_option,
    include_option,
    print_plan,
    refuse_filters,
)
from hippy.cli.opening import profile_option, with_client
from hippy.cli.printing import (
    counted,
    failures_exit_code,
    human_bytes,
    json_option,
    print_json,
    rate,
    report_failures,
    shown,
)

if TYPE_CHECKING:
    from hippy.client.results import Pair, PutResult
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@dataclass(frozen=True, slots=True)
class Job:
    """One source and where it goes."""

    source: str
    target: Uri
    is_dir: bool


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.argument("destination", metavar="hippy://BUCKET/PATH")
@click.option("-r", "--recursive", is_flag=True, help="Store the files below each directory SRC.")
@include_option
@exclude_option
@if_absent_option
@profile_option
@dry_run_option
@json_option
def put(
    sources: tuple[str, ...],
    destination: str,
    recursive: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    if_absent: bool,
    profile: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Store files and directories.

    One file is stored as PATH, or inside it when PATH ends in a slash; several files need the slash. With -r the
    files below a directory are stored below PATH (of several directories: below PATH/NAME). SRC "-" is
    standard input. Symbolic links are not followed; they are listed.
    """
    from hippy.client.uri import parse_uri

    uri = parse_uri(destination)
    if not recursive:
        refuse_filters(include, exclude)
    many = len(sources) > 1
    targets = [_target(source, uri, many=many, recursive=recursive) for source in sources]
    _refuse_repetition(sources, targets)
    jobs = [Job(source, target, Path(source).is_dir()) for source, target in zip(sources, targets, strict=True)]
    if dry_run:
        pairs = [pair for job in jobs for pair in _would_put(job, include=include, exclude=exclude)]
        return print_plan("store", pairs, as_json=as_json)

    async def work(client: AsyncClient) -> list[PutResult]:
        return [await _put_one(client, job, include=include, exclude=exclude, if_absent=if_absent) for job in jobs]

    return _report(with_client(work, profile=profile, as_json=as_json, quiet=False), as_json=as_json)


def _target(source: str, uri: Uri, *, many: bool, recursive: bool) -> Uri:
    """Return where one source goes; refuse what cannot work before anything is sent."""
    from hippy.client.sources import FileSource
    from hippy.client.uri import parse_uri
    from hippy.errors import UsageError

    if many and not uri.slash:
        raise UsageError("several sources need a destination that ends in a slash", hint=f"{uri}/")
    if source == "-":
        if uri.slash:
            raise UsageError("standard input needs a name of its own", hint="hippy put - hippy://bucket/path/name")
        return uri
    path = Path(source)
    if path.is_dir():
        _check_directory(path, uri, recursive=recursive)
        return parse_uri(f"{uri.below(path.resolve().name)}/") if many else uri
    FileSource.of(path).open().close()  # the way to know whether it can be read
    return parse_uri(str(uri.below(path.name))) if uri.slash else uri


def _check_directory(path: Path, uri: Uri, *, recursive: bool) -> None:
    from hippy.errors import AuthError, UsageError

    if not recursive:
        raise UsageError(f"{path} is a directory", hint=f"hippy put -r {path} {uri}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise AuthError(f"cannot list {path}", hint="check who may read it")


def _refuse_repetition(sources: tuple[str, ...], targets: list[Uri]) -> None:
    from hippy.errors import UsageError

    taken: dict[tuple[str, ...], str] = {}
    for source, target in zip(sources, targets, strict=True):
        if target.components in taken:
            first = taken[target.components]
            raise UsageError(f"{first} and {source} would both be stored as {target}", hint="put them one by one")
        taken[target.components] = source


async def _put_one(
    client: AsyncClient, job: Job, *, include: tuple[str, ...], exclude: tuple[str, ...], if_absent: bool
) -> PutResult:
    target = str(job.target)
    if job.source == "-":
        return await client.put(sys.stdin.buffer, target, if_absent=if_absent)
    if job.is_dir:
        return await client.put_dir(job.source, target, include=include, exclude=exclude, if_absent=if_absent)
    return await client.put(Path(job.source), target, if_absent=if_absent)


def _would_put(job: Job, *, include: tuple[str, ...], exclude: tuple[str, ...]) -> list[Pair]:
    """Return what a put of one source would store; of standard input nobody knows how much that is."""
    from hippy.client.results import Pair
    from hippy.client.sources import FileSource
    from hippy.client.walk import walk_directory

    path, target = Path(job.source), job.target
    if job.source == "-":
        return [Pair("-", str(target), 0)]
    if job.is_dir:
        files = walk_directory(path, include=include, exclude=exclude).files
        return [
            Pair(str(path.joinpath(*file.components)), str(target.below(*file.components)), file.source.size)
            for file in files
        ]
    return [Pair(job.source, str(target), FileSource.of(path).size)]


def _report(results: list[PutResult], *, as_json: bool) -> int:
    failures = tuple(failure for result in results for failure in result.failures)
    symlinks = [link for result in results for link in result.symlinks]
    files, size = sum(r.files for r in results), sum(r.bytes for r in results)
    seconds = sum(r.seconds for r in results)
    missing = sum(r.missing_pieces for r in results)
    told = report_failures(failures, as_json=as_json)
    if as_json:
        stored = sum(r.stored_bytes for r in results)
        print_json(
            {
                "files": files,
                "bytes": size,
                "stored_bytes": stored,
                "missing_pieces": missing,
                "seconds": round(seconds, 3),
                "symlinks": symlinks,
                "failures": told,
            }
        )
        return failures_exit_code(failures)
    for link in symlinks:
        click.echo(f"not followed: symbolic link {shown(link)}", err=True)
    if missing:
        click.echo(f"{counted(missing, 'piece')} found no miner: safe, but with fewer losses to spare", err=True)
    links = f", {counted(len(symlinks), 'symbolic link')} not followed" if symlinks else ""
    failed = f", {len(failures)} failed" if failures else ""
    moved = f"{counted(files, 'file')}, {human_bytes(size)} stored in {seconds:.1f} s, {rate(size, seconds)}"
    click.echo(f"{moved}{links}{failed}", err=True)
    return failures_exit_code(failures)
