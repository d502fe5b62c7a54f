"""``hippy find``."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.choosing import check_bucket
from hippy.cli.opening import with_client
from hippy.cli.printing import json_option, print_json, shown
from hippy.errors import UsageError

if TYPE_CHECKING:
    from hippy.client.finding import Query
    from hippy.client.results import Entry
    from hippy.client.sdk import AsyncClient

_SIZE: Final = re.compile(r"([+-]?)([0-9]{1,15})([KMGT]?)")
_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_AGO: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@click.command()
@click.argument("place", metavar="hippy://BUCKET/PATH")
@click.option("--name", "names", multiple=True, metavar="GLOB", help="The last name matches; of several, one does.")
@click.option("--type", "kind", type=click.Choice(["f", "d"]), help="Objects (f) or directories (d) only.")
@click.option("--size", "sizes", multiple=True, metavar="[+-]N[KMGT]", help="At least +N, at most -N, exactly N bytes.")
@click.option("--newer", metavar="WHEN", help="Changed after WHEN: a date, how long ago (7d, 12h), or a local file.")
@click.option("--older", metavar="WHEN", help="Changed before WHEN.")
@json_option
def find(
    place: str,
    names: tuple[str, ...],
    kind: str | None,
    sizes: tuple[str, ...],
    newer: str | None,
    older: str | None,
    as_json: bool,
) -> None:
    """Find objects and directories below a path.

    Prints one URI a line, directories with a slash at their end. All conditions must hold; K, M, G and T are powers
    of 1024.
    """
    from hippy.client.uri import parse_uri

    uri = parse_uri(place)
    query = _query(names, kind, sizes, newer, older)

    async def work(client: AsyncClient) -> list[Entry]:
        found = await client.find(place, query)
        if not found:
            await check_bucket(client, uri)
        return found

    found = with_client(work)
    if as_json:
        print_json({"entries": [_described(uri.bucket, entry) for entry in found]})
        return
    for entry in found:
        click.echo(shown(_uri(uri.bucket, entry)))


def _query(
    names: tuple[str, ...], kind: str | None, sizes: tuple[str, ...], newer: str | None, older: str | None
) -> Query:
    from hippy.client.finding import Query

    smallest, largest = size_limits(sizes)
    return Query(
        names=names,
        kind="f" if kind == "f" else "d" if kind == "d" else None,
        size_min=smallest,
        size_max=largest,
        newer_us=None if newer is None else moment_us(newer),
        older_us=None if older is None else moment_us(older),
    )


def size_limits(texts: tuple[str, ...]) -> tuple[int | None, int | None]:
    """Return the smallest and largest size, in bytes, that all of ``+1M``, ``-2G`` or ``512`` allow.

    Raises UsageError for anything else.
    """
    smallest: list[int] = []
    largest: list[int] = []
    for text in texts:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise UsageError(f"no size: {text[:40]!r}", hint="write +1M (at least), -1M (at most) or 1M (exactly)")
        size = int(match[2]) * _UNITS[match[3]]
        if match[1] != "-":
            smallest.append(size)
        if match[1] != "+":
            largest.append(size)
    return max(smallest, default=None), min(largest, default=None)


def moment_us(text: str) -> int:
    """Return the Unix microseconds that ``7d`` ago, ``2026-01-31`` or ``2026-01-31T12:00`` or a local file stand for.

    A date without a zone is in the local one. Raises UsageError for anything else.
    """
    match = _AGO.fullmatch(text)
    if match is not None:
        return int((time.time() - int(match[1]) * _SECONDS[match[2]]) * 1e6)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6)
    except (ValueError, OverflowError):
        pass
    try:
        return Path(text).stat().st_mtime_ns // 1000
    except (OSError, ValueError):
        raise UsageError(
            f"no moment: {text[:80]!r}", hint="write 2026-01-31, 2026-01-31T12:00, how long ago (7d, 12h), or a file"
        ) from None


def _uri(bucket: str, entry: Entry) -> str:
    return f"hippy://{bucket}/{entry.path}" + ("/" if entry.is_dir else "")


def _described(bucket: str, entry: Entry) -> dict[str, object]:
    told: dict[str, object] = {"uri": _uri(bucket, entry), "kind": "directory" if entry.is_dir else "object"}
    return told if entry.is_dir else {**told, "size": entry.size, "mtime_us": entry.mtime_us}
