"""Patterns against what is stored: ``hippy://bucket/runs/*/model.bin`` becomes objects and directories.

Owns expansion, level by level, so that no more is listed than a pattern needs. What a pattern means is
hippy.client.patterns'. A bucket's name is always literal.

Invariants: a name that is there exactly as it is written is meant itself, whatever characters it has; what is found
is named once, and nothing that lies below a directory that was found too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hippy.client.finding import folders_of
from hippy.client.listing import Listing
from hippy.client.patterns import ANY_DEPTH, has_pattern, matches_name, matches_path
from hippy.client.results import Entry
from hippy.client.uri import Uri
from hippy.errors import NotFoundError


class Matching:
    """Expands patterns in one account."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    async def is_pattern(self, uri: Uri) -> bool:
        """Return whether a URI has a pattern in its path and nothing is there under exactly that name."""
        if not any(map(has_pattern, uri.components)):
            return False
        return not await self._listing.object_itself(uri) and not await self._listing.entries(uri, recursive=False)

    async def found(self, uri: Uri, *, directories: bool) -> list[Entry]:
        """Return what :meth:`expand` does.

        Raises NotFoundError when that is nothing.
        """
        entries = await self.expand(uri, directories=directories)
        if not entries:
            hint = "hippy ls shows what there is" if directories else "without -r a pattern is for objects only"
            raise NotFoundError(f"nothing matches {uri}", hint=hint)
        return entries

    async def expand(self, uri: Uri, *, directories: bool) -> list[Entry]:
        """Return the objects, and with ``directories`` the directories, that a pattern matches, sorted by path.

        With a trailing slash it is for directories only. A pattern that ends in ``**`` is for the objects at every
        depth.
        """
        found: dict[tuple[str, bool], Entry] = {}
        async for entry in self._matches(Uri(uri.bucket), uri.components):
            is_meant = directories if entry.is_dir else not uri.slash
            if is_meant:
                found[entry.path, entry.is_dir] = entry
        return _outermost(sorted(found.values(), key=lambda entry: (entry.path.split("/"), entry.is_dir)))

    async def _matches(self, prefix: Uri, patterns: Sequence[str]) -> AsyncIterator[Entry]:
        first, rest = patterns[0], patterns[1:]
        if first == ANY_DEPTH:
            for entry in await self._everything_below(prefix, patterns):
                yield entry
        elif rest and not has_pattern(first):
            async for entry in self._matches(prefix.below(first), rest):
                yield entry
        else:
            for entry in await self._listing.entries(prefix, recursive=False):
                name = entry.path.rpartition("/")[2]
                if not (name == first or (has_pattern(first) and matches_name(first, name))):
                    continue
                if not rest:
                    yield entry
                elif entry.is_dir:
                    async for deeper in self._matches(prefix.below(name), rest):
                        yield deeper

    async def _everything_below(self, prefix: Uri, patterns: Sequence[str]) -> list[Entry]:
        """Return what matches patterns that begin with ``**``."""
        depth = len(prefix.components)
        objects = await self._listing.entries(prefix, recursive=True)
        found = [entry for entry in objects if matches_path(patterns, entry.path.split("/")[depth:])]
        if patterns[-1] == ANY_DEPTH:
            return found
        matched = [folder for folder in folders_of(objects, depth) if matches_path(patterns, folder[depth:])]
        return [*found, *(Entry("/".join(folder), is_dir=True) for folder in matched)]


def _outermost(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries without those that lie below a directory among them."""
    folders = {entry.path for entry in entries if entry.is_dir}
    return [entry for entry in entries if not _above(entry.path) & folders]


def _above(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}
