"""What a command is about: patterns in URIs, filters of files, and what ``--dry-run`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hippy.cli.printing import (
    counted,
    failures_exit_code,
    human_bytes,
    print_json,
    report_failures,
    report_symlinks,
    shown,
)
from hippy.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from hippy.client.results import Failure, Pair
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri

dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done and change nothing.")

include_option = click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="With -r: keep files that GLOB matches, whatever --exclude says; without any --exclude only these.",
)

exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="With -r: leave out files and directories that GLOB matches: by name at any depth, or, if GLOB has a slash, "
    "by their path below the directory. A slash at its end: directories only.",
)

if_absent_option = click.option(
    "--if-absent", is_flag=True, help="Fail (exit code 10) where an object is there instead of overwriting it."
)


def refuse_filters(include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """Raises UsageError when files are to be chosen where there is no directory to choose from."""
    if include or exclude:
        raise UsageError("--include and --exclude choose among the files of a directory", hint="add -r")


async def matched(client: AsyncClient, texts: Sequence[str], *, directories: bool) -> list[Uri]:
    """Return the URIs that are meant: patterns expanded, directories among them with a slash.

    Raises NotFoundError when a pattern matches nothing.
    """
    from hippy.client.uri import Uri, parse_uri

    found: list[Uri] = []
    for text in texts:
        uri = parse_uri(text)
        entries = await client.glob(text, directories=directories)
        if entries is None:
            found.append(uri)
        else:
            found += [Uri(uri.bucket, tuple(each.path.split("/")), slash=each.is_dir) for each in entries]
    return found


async def check_bucket(client: AsyncClient, uri: Uri) -> None:
    """Raises NotFoundError where nothing was found because there is no such bucket."""
    if uri.bucket not in await client.buckets():
        raise NotFoundError(f"there is no bucket {uri}", hint="hippy ls lists the buckets")


def print_plan(
    verb: str,
    pairs: Sequence[Pair],
    *,
    as_json: bool,
    failures: tuple[Failure, ...] = (),
    symlinks: Sequence[str] = (),
) -> int:
    """Print what a dry run found, one line or JSON item each, and what would be left out; return the exit code."""
    told = report_failures(failures, as_json=as_json)
    if as_json:
        described = [{"source": each.source, "target": each.target, "size": each.size} for each in pairs]
        print_json({"dry_run": True, "pairs": described, "symlinks": list(symlinks), "failures": told})
        return failures_exit_code(failures)
    report_symlinks(symlinks)
    for each in pairs:
        target = f" -> {shown(each.target)}" if each.target else ""
        click.echo(f"would {verb} {shown(each.source)}{target}  ({human_bytes(each.size)})")
    total = human_bytes(sum(each.size for each in pairs))
    failed = f", {len(failures)} would fail" if failures else ""
    click.echo(f"dry run: would {verb} {counted(len(pairs), 'file')}, {total}{failed}; nothing was changed", err=True)
    return failures_exit_code(failures)
