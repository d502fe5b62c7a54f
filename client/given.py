"""What a put was given, and where it is to go: sources with their URIs become items with their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hippy.client.keys import AccountKeys
from hippy.client.names import seal_path
from hippy.client.put import Item
from hippy.client.results import Failure
from hippy.client.sources import Source
from hippy.client.uri import Uri
from hippy.errors import ConflictError, HippyError


@dataclass(frozen=True, slots=True)
class Given:
    """Something to store; ``label`` names it in failures."""

    label: str
    target: Uri
    source: Source


def items_of(given: Sequence[Given], keys: AccountKeys) -> tuple[list[Item], list[Failure]]:
    """Return what can be stored; names that are no names in the network, or come twice, are failures."""
    items, failures = [], []
    taken: set[tuple[bytes, ...]] = set()
    for each in given:
        try:
            place = seal_path(keys, each.target.bucket, each.target.components)
            if place.name in taken:
                raise ConflictError("another file has this name in another Unicode form", hint="rename one of them")
        except HippyError as error:
            failures.append(Failure(each.label, error))
            continue
        taken.add(place.name)
        items.append(Item(each.label, place, each.source))
    return items, failures
