"""``hippy du``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hippy.cli.choosing import check_bucket, matched
from hippy.cli.opening import with_client
from hippy.cli.printing import human_bytes, json_option, print_json, shown

if TYPE_CHECKING:
    from hippy.client.results import Usage
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@click.command()
@click.argument("uris", nargs=-1, required=True, metavar="hippy://BUCKET/PATH...")
@click.option("-s", "--summarize", is_flag=True, help="Only the total of each PATH, not of every directory below it.")
@click.option("--no-stored", is_flag=True, help="Leave out what miners store; quicker where there is much.")
@json_option
def du(uris: tuple[str, ...], summarize: bool, no_stored: bool, as_json: bool) -> None:
    """Show how much directories hold.

    The columns are bytes of objects, bytes that miners store for them (all n pieces; a segment that objects share, and
    copies do, is counted once in each directory), objects, and path. PATH may be a quoted pattern (* ? [...] **).
    """
    from hippy.client.uri import parse_uri

    for uri in uris:
        parse_uri(uri)

    async def work(client: AsyncClient) -> list[tuple[Uri, list[Usage]]]:
        targets = await matched(client, uris, directories=True)
        found = [(target, await client.du(str(target), stored=not no_stored)) for target in targets]
        for target, usages in found:
            if not usages[0].objects:
                await check_bucket(client, target)
        return found

    lines = [
        (f"hippy://{target.bucket}/{each.path}", each)
        for target, usages in with_client(work)
        for each in (usages[:1] if summarize else usages)
    ]
    if as_json:
        print_json({"usage": [_described(uri, each) for uri, each in lines]})
        return
    for uri, each in lines:
        stored = "" if each.stored_bytes is None else f"{human_bytes(each.stored_bytes):>10}  "
        click.echo(f"{human_bytes(each.bytes):>10}  {stored}{each.objects:>9,}  {shown(uri)}")


def _described(uri: str, usage: Usage) -> dict[str, object]:
    told = {"uri": uri, "path": usage.path, "objects": usage.objects, "bytes": usage.bytes}
    return told if usage.stored_bytes is None else {**told, "stored_bytes": usage.stored_bytes}
