"""Which entries of a listing are looked for: by name, type, size and age. Pure.

>>> Query(names=("*.bin",), size_min=2**20).finds(Entry("runs/a.bin", is_dir=False, size=2**21))
True
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hippy.client.patterns import matches_name
from hippy.client.results import Entry


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; all that is given must hold, of ``names`` one.

    ``names`` are patterns for the last component, ``kind`` is "f" for objects or "d" for directories. Sizes are bytes,
    both ends included; ``newer_us`` and ``older_us`` are Unix microseconds of the last change, both ends left out. Only
    objects have a size and an age.
    """

    names: tuple[str, ...] = ()
    kind: Literal["f", "d"] | None = None
    size_min: int | None = None
    size_max: int | None = None
    newer_us: int | None = None
    older_us: int | None = None

    def finds(self, entry: Entry) -> bool:
        """Return whether an entry is one of those looked for."""
        if self.kind is not None and entry.is_dir != (self.kind == "d"):
            return False
        if self.names and not any(matches_name(pattern, entry.path.rpartition("/")[2]) for pattern in self.names):
            return False
        asks_more = (self.size_min, self.size_max, self.newer_us, self.older_us) != (None,) * 4
        return not asks_more or (not entry.is_dir and self._fits(entry))

    def _fits(self, entry: Entry) -> bool:
        return (
            (self.size_min is None or entry.size >= self.size_min)
            and (self.size_max is None or entry.size <= self.size_max)
            and (self.newer_us is None or entry.mtime_us > self.newer_us)
            and (self.older_us is None or entry.mtime_us < self.older_us)
        )


def with_directories(objects: Iterable[Entry], depth: int) -> list[Entry]:
    """Return objects and the directories they lie in below a root ``depth`` components deep, sorted by path."""
    entries = list(objects)
    entries += [Entry("/".join(folder), is_dir=True) for folder in folders_of(entries, depth)]
    return sorted(entries, key=lambda entry: (entry.path.split("/"), not entry.is_dir))


def folders_of(objects: Iterable[Entry], depth: int) -> set[tuple[str, ...]]:
    """Return the directories that objects lie in below a root ``depth`` components deep."""
    names = (entry.path.split("/") for entry in objects)
    return {tuple(name[:end]) for name in names for end in range(depth + 1, len(name))}
