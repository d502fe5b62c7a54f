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
    report_symlinks,
)

if TYPE_CHECKING:
    from hippy.client.results import Failure, Pair, PutResult
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri
    from hippy.client.walk import Found


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
        return _print_plan(jobs, include=include, exclude=exclude, as_json=as_json)

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


def _print_plan(jobs: list[Job], *, include: tuple[str, ...], exclude: tuple[str, ...], as_json: bool) -> int:
    """Print what a put would store and leave out."""
    from hippy.client.results import Pair
    from hippy.client.sources import FileSource
    from hippy.client.walk import walk_directory

    pairs: list[Pair] = []
    failures: list[Failure] = []
    symlinks: list[str] = []
    for job in jobs:
        if job.source == "-":
            pairs.append(Pair("-", str(job.target), 0))  # how much it is nobody knows
        elif not job.is_dir:
            pairs.append(Pair(job.source, str(job.target), FileSource.of(Path(job.source)).size))
        else:
            walk = walk_directory(Path(job.source), include=include, exclude=exclude)
            failures += walk.failures
            symlinks += walk.symlinks
            for file in walk.files:
                _plan_file(job, file, pairs, failures)
    return print_plan("store", pairs, as_json=as_json, failures=tuple(failures), symlinks=symlinks)


def _plan_file(job: Job, file: Found, pairs: list[Pair], failures: list[Failure]) -> None:
    """Add where a file of a directory goes, or why its name cannot be one in the network."""
    from hippy.client.file_errors import shown
    from hippy.client.results import Failure, Pair
    from hippy.client.uri import parse_uri
    from hippy.errors import HippyError

    try:
        target = parse_uri(str(job.target.below(*file.components)))
    except HippyError as error:
        failures.append(Failure(shown(file.components), error))
    else:
        pairs.append(Pair(str(Path(job.source).joinpath(*file.components)), str(target), file.source.size))


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
    report_symlinks(symlinks)
    if missing:
        click.echo(f"{counted(missing, 'piece')} found no miner: safe, but with fewer losses to spare", err=True)
    links = f", {counted(len(symlinks), 'symbolic link')} not followed" if symlinks else ""
    failed = f", {len(failures)} failed" if failures else ""
    moved = f"{counted(files, 'file')}, {human_bytes(size)} stored in {seconds:.1f} s, {rate(size, seconds)}"
    click.echo(f"{moved}{links}{failed}", err=True)
    return failures_exit_code(failures)
