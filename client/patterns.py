"""Patterns for names: ``*``, ``?``, ``[...]`` within a name, ``**`` for any number of directories. Pure.

Owns what a pattern means. A name that begins with a dot is matched as any other; case counts; ``[!a]`` is everything
but ``a``, and ``[*]`` the star itself. Expanding a pattern against what is stored is hippy.client.matching's.

>>> has_pattern("model-?.bin")
True
>>> matches_path(("runs", "**", "*.bin"), ("runs", "a", "b", "x.bin"))
True
>>> Filter(exclude=("*.tmp",), include=("keep.tmp",)).keeps(("a", "keep.tmp"))
True
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

ANY_DEPTH: Final = "**"
_MAGIC: Final = frozenset("*?[")


def has_pattern(text: str) -> bool:
    """Return whether a name has a character that means something in a pattern."""
    return not _MAGIC.isdisjoint(text)


def matches_name(pattern: str, name: str) -> bool:
    """Return whether one name matches one pattern."""
    return _compiled(pattern).match(unicodedata.normalize("NFC", name)) is not None


def matches_path(patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a whole path matches, component by component; ``**`` stands for none or more of them."""
    reachable = {0}  # how many patterns may be used up by the names so far
    for name in names:
        reachable = {
            step
            for position in _closed(reachable, patterns)
            if position < len(patterns)
            for step in _steps(position, patterns, name)
        }
    return len(patterns) in _closed(reachable, patterns)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files below a directory are meant.

    A pattern with a slash is for the path below the directory, one without for the name of a file or of a directory at
    any depth; with a slash at its end it is for directories only. A file is left out when a pattern of ``exclude``
    matches it or a directory it is in, unless one of ``include`` does. With ``include`` alone, only what it matches
    is kept.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def keeps(self, components: Sequence[str]) -> bool:
        """Return whether the file at a path below the directory is meant."""
        if _any(self.include, components, is_dir=False):
            return True
        if self.include and not self.exclude:
            return False
        return not _any(self.exclude, components, is_dir=False)

    def skips_directory(self, components: Sequence[str]) -> bool:
        """Return whether nothing below a directory can be meant, so that it need not be looked into."""
        return not self.include and _any(self.exclude, components, is_dir=True)


NO_FILTER: Final = Filter()


def _any(patterns: Sequence[str], components: Sequence[str], *, is_dir: bool) -> bool:
    """Return whether a pattern matches a path or one of the directories it lies in."""
    for depth in range(1, len(components) + 1):
        of_directory = is_dir or depth < len(components)
        if any(_matches(pattern, components[:depth], is_dir=of_directory) for pattern in patterns):
            return True
    return False


def _matches(pattern: str, components: Sequence[str], *, is_dir: bool) -> bool:
    if pattern.endswith("/") and not is_dir:
        return False
    parts = [part for part in pattern.split("/") if part]
    if "/" in pattern.removesuffix("/"):
        return matches_path(parts, components)
    return bool(parts) and matches_name(parts[0], components[-1])


def _closed(positions: set[int], patterns: Sequence[str]) -> set[int]:
    """Return the positions with those reached by letting ``**`` stand for nothing."""
    closed = set(positions)
    for position in range(len(patterns)):
        if position in closed and patterns[position] == ANY_DEPTH:
            closed.add(position + 1)
    return closed


def _steps(position: int, patterns: Sequence[str], name: str) -> Iterator[int]:
    if patterns[position] == ANY_DEPTH:
        yield position
    elif matches_name(patterns[position], name):
        yield position + 1


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(unicodedata.normalize("NFC", pattern)))
