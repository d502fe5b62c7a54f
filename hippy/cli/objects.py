"""``hippy ls``, ``hippy stat`` and ``hippy rm``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hippy.cli.opening import refuse_directory, with_client
from hippy.cli.printing import failures_exit_code, human_bytes, json_option, print_json, report_failures, shown
from hippy.errors import HippyError, NotFoundError

if TYPE_CHECKING:
    from hippy.client.results import DeleteResult, Entry
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@click.command()
@click.argument("place", metavar="[hippy://BUCKET/PATH]", required=False)
@click.option("-r", "--recursive", is_flag=True, help="List everything below PATH.")
@json_option
def ls(place: str | None, recursive: bool, as_json: bool) -> None:
    """List buckets, or the objects below a path."""
    from hippy.client.uri import parse_uri

    if place is None:
        _list_buckets(as_json=as_json)
        return

    uri = parse_uri(place)

    async def work(client: AsyncClient) -> list[Entry]:
        entries = await client.list(str(uri), recursive=recursive)
        if not entries and uri.bucket not in await client.buckets():
            raise NotFoundError(f"there is no bucket {uri}", hint="hippy ls")
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


def _list_buckets(*, as_json: bool) -> None:
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
@click.option("-r", "--recursive", is_flag=True, help="Delete everything below each PATH.")
@json_option
def rm(uris: tuple[str, ...], recursive: bool, as_json: bool) -> int:
    """Delete objects."""
    from hippy.client.uri import parse_uri

    targets = [parse_uri(uri) for uri in uris]
    if not recursive:
        for target in targets:
            refuse_directory(target, hint=f"hippy rm -r {target}")

    async def work(client: AsyncClient) -> list[DeleteResult]:
        if len(targets) == 1:
            return [await client.delete(str(targets[0]), recursive=recursive)]
        return [await _delete(client, target, recursive=recursive) for target in targets]

    results = with_client(work)
    failures = tuple(failure for result in results for failure in result.failures)
    deleted = sum(result.files for result in results)
    told = report_failures(failures, as_json=as_json)
    if as_json:
        print_json({"deleted": deleted, "failures": told})
    else:
        click.echo(f"{deleted:,} deleted", err=True)
    return failures_exit_code(failures)


async def _delete(client: AsyncClient, target: Uri, *, recursive: bool) -> DeleteResult:
    """Delete one of several; what cannot be deleted keeps none of the others."""
    from hippy.client.results import DeleteResult, Failure

    try:
        return await client.delete(str(target), recursive=recursive)
    except HippyError as error:
        return DeleteResult(0, (Failure(str(target), error),))


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
