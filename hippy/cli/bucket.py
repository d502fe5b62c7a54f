"""``hippy bucket create|list|delete``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hippy.cli.objects import list_buckets
from hippy.cli.opening import with_client
from hippy.cli.printing import (
    counted,
    failures_exit_code,
    human_bytes,
    json_option,
    print_json,
    report_failures,
    shown,
)
from hippy.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hippy.client.results import DeleteResult, Entry
    from hippy.client.sdk import AsyncClient


@click.group()
def bucket() -> None:
    """Make, list and remove buckets.

    Objects need none: putting one makes its bucket appear. A bucket that was created stays when it is empty.
    """


@bucket.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def create(names: tuple[str, ...], as_json: bool) -> None:
    """Create buckets. One that is there already is fine."""
    from hippy.client.buckets import bucket_name

    buckets = [bucket_name(name) for name in names]

    async def work(client: AsyncClient) -> list[bool]:
        return [await client.create_bucket(each) for each in buckets]

    existed = with_client(work)
    if as_json:
        print_json({"buckets": [{"name": n, "existed": e} for n, e in zip(buckets, existed, strict=True)]})
        return
    for name, was_there in zip(buckets, existed, strict=True):
        click.echo(f"hippy://{shown(name)}/ {'was there already' if was_there else 'created'}", err=True)


@bucket.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List buckets: those that were created and those that objects are in."""
    list_buckets(as_json=as_json)


@bucket.command()
@click.argument("name")
@click.option("-r", "--recursive", is_flag=True, help="Delete the objects in it too; asks first.")
@click.option("--force", is_flag=True, help="Do not ask.")
@json_option
def delete(name: str, recursive: bool, force: bool, as_json: bool) -> int:
    """Delete a bucket."""
    from hippy.client.buckets import bucket_name

    bucket_ = bucket_name(name)
    if recursive and not force:
        _ask(bucket_, as_json=as_json)

    async def work(client: AsyncClient) -> DeleteResult | None:
        return await _delete(client, bucket_, recursive=recursive)

    result = with_client(work)
    deleted, failures = (result.files, result.failures) if result is not None else (0, ())
    told = report_failures(failures, as_json=as_json)
    if as_json:
        print_json({"bucket": bucket_, "deleted": deleted, "failures": told})
    elif not failures:
        click.echo(f"hippy://{shown(bucket_)}/ deleted, {counted(deleted, 'object')}", err=True)
    return failures_exit_code(failures)


async def _delete(client: AsyncClient, bucket_: str, *, recursive: bool) -> DeleteResult | None:
    """Delete a bucket, and what is in it where that is asked for; a bucket of objects only is gone with them."""
    result = None
    if recursive and await client.list(f"hippy://{bucket_}/"):
        result = await client.delete(f"hippy://{bucket_}/", recursive=True)
        if result.failures:
            return result
    try:
        await client.delete_bucket(bucket_)
    except ConflictError as error:
        raise ConflictError(error.message, hint=f"hippy bucket delete -r {bucket_} deletes its objects too") from None
    except NotFoundError:
        if result is None:
            raise NotFoundError(f"there is no bucket hippy://{bucket_}/", hint="hippy ls lists the buckets") from None
    return result


def _ask(bucket_: str, *, as_json: bool) -> None:
    """Ask whether to delete what is in a bucket; nobody there to ask is a no."""
    if as_json or not sys.stdin.isatty():
        raise UsageError("deleting a bucket with its objects asks first, and nobody can answer", hint="add --force")

    async def work(client: AsyncClient) -> list[Entry]:
        return await client.list(f"hippy://{bucket_}/", recursive=True)

    entries = with_client(work)
    size = human_bytes(sum(entry.size for entry in entries))
    question = f"Delete hippy://{shown(bucket_)}/ with {counted(len(entries), 'object')}, {size}?"
    click.confirm(question, abort=True, err=True)
