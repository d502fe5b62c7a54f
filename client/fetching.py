"""Which objects a get of many brings, and to which path below its directory.

Owns choosing by prefix, pattern and filter, before any byte moves. Rows that are altered are failures by name, the
others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hippy.client.listing import Listed, Listing
from hippy.client.matching import Matching
from hippy.client.patterns import Filter
from hippy.client.results import Failure
from hippy.client.uri import Uri
from hippy.errors import NotFoundError, UsageError


@dataclass(slots=True)
class ToFetch:
    """Objects, ``components`` being where each goes below the directory, and what cannot be had."""

    listed: list[Listed] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Fetches:
    """Choices of one account."""

    def __init__(self, listing: Listing, matching: Matching) -> None:
        self._listing = listing
        self._matching = matching

    async def below(self, prefix: Uri, chosen: Filter) -> ToFetch:
        """Return the objects below a prefix that are meant.

        Raises NotFoundError when there is nothing below it.
        """
        listed, failures = await self._listing.below_each(prefix)
        if not listed and not failures:
            is_object = bool(await self._listing.object_itself(prefix))
            hint = "it is an object: leave recursive (-r) out" if is_object else "hippy ls shows what there is"
            raise NotFoundError(f"there is nothing below {prefix}", hint=hint)
        return ToFetch(_chosen(listed, chosen), failures)

    async def matching(self, pattern: Uri, chosen: Filter, *, recursive: bool) -> ToFetch:
        """Return the objects that a pattern matches, and with ``recursive`` those in directories that it matches.

        Raises NotFoundError when nothing matches, UsageError when two would become one file.
        """
        entries = await self._matching.found(pattern, directories=recursive)
        uris = [(Uri(pattern.bucket, tuple(entry.path.split("/"))), entry.is_dir) for entry in entries]
        found = ToFetch(*await self._listing.objects_at([uri for uri, is_dir in uris if not is_dir]))
        for directory in (uri for uri, is_dir in uris if is_dir):
            listed, failures = await self._listing.below_each(directory)
            found.listed += [replace(each, components=(directory.name, *each.components)) for each in listed]
            found.failures += failures
        found.listed = _chosen(found.listed, chosen)
        _check_distinct(found.listed)
        return found


def _chosen(listed: Iterable[Listed], chosen: Filter) -> list[Listed]:
    return [each for each in listed if chosen.keeps(each.components)]


def _check_distinct(listed: Sequence[Listed]) -> None:
    taken: dict[tuple[str, ...], str] = {}
    for each in listed:
        first = taken.setdefault(each.components, each.path)
        if first != each.path:
            raise UsageError(
                f"{first} and {each.path} would both become {'/'.join(each.components)}", hint="get them one by one"
            )
