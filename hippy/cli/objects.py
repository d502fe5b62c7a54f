"""``hippy ls``, ``hippy stat`` and ``hippy rm``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hippy.cli.choosing import check_bucket, dry_run_option, matched, print_plan
from hippy.cli.opening import refuse_directory, with_client
from hippy.cli.printing import failures_exit_code, human_bytes, json_option, print_json, report_failures, shown

if TYPE_CHECKING:
    from hippy.client.results import DeleteResult, Entry, Pair
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@click.command()
@click.argument("place", metavar="[hippy://BUCKET/PATH]", required=False)
@click.option("-r", "--recursive", is_flag=True, help="List everything below PATH.")
@json_option
def ls(place: str | None, recursive: bool, as_json: bool) -> None:
    """List buckets, or the objects below a path.

    PATH may be a quoted pattern (* ? [...] within a name, ** for any directories); a name that is there exactly as
    written is meant itself.
    """
    from hippy.client.uri import parse_uri

    if place is None:
        list_buckets(as_json=as_json)
        return

    uri = parse_uri(place)

    async def work(client: AsyncClient) -> list[Entry]:
        matches = await client.glob(place, directories=True)
        if matches is not None:
            return await _listed(client, uri, matches, recursive=recursive)
        entries = await client.list(str(uri), recursive=recursive)
        if not entries:
            await check_bucket(client, uri)
        return entries

    entries = with_client(work)
    if as_json:
        print_json({"entries": [_described(entry) for entry in entries]})
        return
    for entry in entries:
        if entry.is_dir:
            click.echo(f"{'':>10}  {'':16}  {shown(entry.path)}/")
        else:
            click.echo(f"{human_bytes(entry.size):>10}  {_when(entry):16}  {shown(entry.path)}")


async def _listed(client: AsyncClient, uri: Uri, matches: list[Entry], *, recursive: bool) -> list[Entry]:
    """Return what a pattern matched, with ``recursive`` what is in the directories among it instead of them."""
    if not recursive:
        return matches
    entries: list[Entry] = []
    for entry in matches:
        if entry.is_dir:
            below = type(uri)(uri.bucket, tuple(entry.path.split("/")), slash=True)
            entries += await client.list(str(below), recursive=True)
        else:
            entries.append(entry)
    return entries


def list_buckets(*, as_json: bool) -> None:
    """Print the account's buckets; what `hippy ls` and `hippy bucket list` do."""

    async def work(client: AsyncClient) -> list[str]:
        return await client.buckets()

    buckets = with_client(work)
    if as_json:
        print_json({"buckets": buckets})
        return
    for bucket in buckets:
        click.echo(f"hippy://{shown(bucket)}/")


@click.command()
@click.argument("uri", metavar="hippy://BUCKET/PATH")
@json_option
def stat(uri: str, as_json: bool) -> None:
    """Show one object."""
    from hippy.client.uri import parse_uri

    refuse_directory(parse_uri(uri), hint=f"hippy ls {uri}")

    async def work(client: AsyncClient) -> Entry:
        return await client.head(uri)

    entry = with_client(work)
    if as_json:
        print_json(_described(entry))
        return
    click.echo(f"path      {shown(entry.path)}")
    click.echo(f"size      {entry.size:,} bytes ({human_bytes(entry.size)})")
    click.echo(f"modified  {_when(entry)}")
    click.echo(f"mode      {entry.mode:04o}")
    click.echo(f"blake3    {entry.hash.hex()}")
    click.echo(f"version   {entry.version}")


@click.command()
@click.argument("uris", nargs=-1, required=True, metavar="hippy://BUCKET/PATH...")
@click.option("-r", "--recursive", is_flag=True, help="Delete everything at and below each PATH.")
@dry_run_option
@json_option
def rm(uris: tuple[str, ...], recursive: bool, dry_run: bool, as_json: bool) -> int:
    """Delete objects.

    PATH may be a quoted pattern (* ? [...] within a name, ** for any directories); without -r it is for objects only.
    A name that is there exactly as written is meant itself.
    """
    from hippy.client.uri import parse_uri

    parsed = [parse_uri(uri) for uri in uris]
    if not recursive:
        for target in parsed:
            refuse_directory(target, hint=f"hippy rm -r {target}")

    async def work(client: AsyncClient) -> tuple[list[Pair], DeleteResult | None]:
        targets = await matched(client, uris, directories=recursive)
        if dry_run:
            return await _would_delete(client, targets, recursive=recursive), None
        result = await client.delete_many([str(target) for target in targets], recursive=recursive)
        if result.failures and len(targets) == 1 and not result.files:
            raise result.failures[0].error
        return [], result

    pairs, result = with_client(work)
    if result is None:
        return print_plan("delete", pairs, as_json=as_json)
    told = report_failures(result.failures, as_json=as_json)
    if as_json:
        print_json({"deleted": result.files, "failures": told})
    else:
        click.echo(f"{result.files:,} deleted", err=True)
    return failures_exit_code(result.failures)


async def _would_delete(client: AsyncClient, targets: list[Uri], *, recursive: bool) -> list[Pair]:
    from hippy.client.results import Pair

    pairs = []
    for target in targets:
        if recursive:
            entries = await client.list(str(target), recursive=True)
        else:
            entries = [await client.head(str(target))]
        pairs += [Pair(f"hippy://{target.bucket}/{entry.path}", "", entry.size) for entry in entries]
    return pairs


def _described(entry: Entry) -> dict[str, Any]:
    if entry.is_dir:
        return {"path": entry.path + "/", "kind": "directory"}
    return {
        "path": entry.path,
        "kind": "object",
        "size": entry.size,
        "mode": entry.mode,
        "mtime_us": entry.mtime_us,
        "hash": entry.hash.hex(),
        "version": entry.version,
    }


def _when(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.mtime_us / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
