"""``hippy tree``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from hippy.cli.choosing import check_bucket
from hippy.cli.opening import with_client
from hippy.cli.printing import counted, human_bytes, json_option, print_json, shown

if TYPE_CHECKING:
    from hippy.client.results import Entry
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri


@dataclass(slots=True)
class Branch:
    """A directory: objects with their sizes, and directories, by name. One name may be both."""

    objects: dict[str, int] = field(default_factory=dict)
    directories: dict[str, Branch] = field(default_factory=dict)


@click.command()
@click.argument("place", metavar="hippy://BUCKET/PATH")
@click.option("-L", "--level", type=click.IntRange(min=1), help="Go so many levels down.")
@json_option
def tree(place: str, level: int | None, as_json: bool) -> None:
    """Show what is below a path as a tree."""
    from hippy.client.uri import parse_uri

    uri = parse_uri(place)

    async def work(client: AsyncClient) -> Branch:
        root = Branch()
        if level is None:
            grow(root, await client.list(str(uri), recursive=True), len(uri.components))
        else:
            await _levels(client, uri, root, level)
        if not root.objects and not root.directories:
            await check_bucket(client, uri)
        return root

    root = with_client(work)
    if as_json:
        print_json({"uri": str(uri), "entries": described(root)})
        return
    click.echo(shown(str(uri)))
    for line in lines(root, ""):
        click.echo(line)
    directories, objects = totals(root)
    noun = "directory" if directories == 1 else "directories"
    click.echo(f"{directories:,} {noun}, {counted(objects, 'object')}", err=True)


async def _levels(client: AsyncClient, uri: Uri, root: Branch, level: int) -> None:
    """Grow a tree level by level, so that no more is listed than is shown."""
    grow(root, await client.list(str(uri)), len(uri.components))
    if level > 1:
        for name, branch in root.directories.items():
            await _levels(client, type(uri)(uri.bucket, (*uri.components, name), slash=True), branch, level - 1)


def grow(root: Branch, entries: list[Entry], depth: int) -> None:
    """Add entries to the tree of a directory ``depth`` components deep."""
    for entry in entries:
        *above, name = entry.path.split("/")
        branch = root
        for each in above[depth:]:
            branch = branch.directories.setdefault(each, Branch())
        if entry.is_dir:
            branch.directories.setdefault(name, Branch())
        else:
            branch.objects[name] = entry.size


def lines(branch: Branch, indent: str) -> Iterator[str]:
    """Yield the lines of a tree, directories and objects mixed by name."""
    entries = sorted([(name, False) for name in branch.objects] + [(name, True) for name in branch.directories])
    for position, (name, is_directory) in enumerate(entries):
        is_last = position == len(entries) - 1
        size = "" if is_directory else f"  ({human_bytes(branch.objects[name])})"
        yield f"{indent}{'└── ' if is_last else '├── '}{shown(name)}{'/' if is_directory else size}"
        if is_directory:
            yield from lines(branch.directories[name], indent + ("    " if is_last else "│   "))


def totals(branch: Branch) -> tuple[int, int]:
    """Return how many directories and objects are in a tree."""
    below = [totals(each) for each in branch.directories.values()]
    return len(below) + sum(each[0] for each in below), len(branch.objects) + sum(each[1] for each in below)


def described(branch: Branch) -> list[dict[str, Any]]:
    """Return a tree for JSON."""
    objects: list[dict[str, Any]] = [
        {"name": name, "kind": "object", "size": size} for name, size in sorted(branch.objects.items())
    ]
    return objects + [
        {"name": name, "kind": "directory", "entries": described(below)}
        for name, below in sorted(branch.directories.items())
    ]
