"""Where damaged pieces are kept for the operator to look at, and no longer than there is room for. Blocking.

Layout of the directory: ``<root hex>.<unix seconds>`` a piece as the disk gave it when it was set aside,
``<root hex>.<unix seconds>.tree`` its leaf hashes, if it had any. Nothing here is owed, served or counted as used;
what has a name of another form is not ours and is left alone.

Example::

    files.set_aside(root, now_seconds)
    files.quarantine.trim(bytes_max=2**30, since_seconds=now_seconds - 30 * 86_400)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hippy.ids import Root
from hippy.miner.disk import Disk

TREE_SUFFIX: Final = ".tree"
"""What is behind a piece's name in the name of its tree, here and in hippy.miner.files."""

_NAME: Final = re.compile(r"([0-9a-f]{64})\.(0|[1-9][0-9]{0,11})(?:\.tree)?", re.ASCII)
"""Root and time; twelve digits of unix seconds last some thirty thousand years."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A damaged piece, when it was set aside (unix seconds), and what it takes on disk with its tree."""

    root: Root
    since_seconds: int
    allocated_bytes: int


class Quarantine:
    """The damaged pieces in one directory."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.directory = directory
        self._disk = disk

    def take(self, piece: Path, tree: Path | None, root: Root, now_seconds: int) -> None:
        """Move a piece's files here, durably. Raises NoSpaceError, TemporaryError; then they are there or here."""
        target = self._path(root, now_seconds)
        if tree is not None:  # first, so that a crash never leaves a tree that a new piece would have to doubt
            self._disk.rename(tree, target.with_name(target.name + TREE_SUFFIX))
        self._disk.rename(piece, target)
        self._disk.sync_directory(self.directory)
        self._disk.sync_directory(piece.parent)

    def pieces(self) -> list[SetAside]:
        """Return what is here, the oldest first. Raises TemporaryError."""
        taken: dict[tuple[int, Root], int] = {}
        for name, size in self._disk.sizes(self.directory).items():
            if match := _NAME.fullmatch(name):
                key = int(match[2]), Root(bytes.fromhex(match[1]))
                taken[key] = taken.get(key, 0) + size  # a crash may have left one of its two files elsewhere
        return [SetAside(root, since, size) for (since, root), size in sorted(taken.items())]

    def trim(self, *, bytes_max: int, since_seconds: int = 0) -> list[SetAside]:
        """Remove the oldest until the rest takes ``bytes_max`` at most, and all from before ``since_seconds``.

        Returns what was removed. Raises TemporaryError.
        """
        pieces, removed = self.pieces(), list[SetAside]()
        taken = sum(one.allocated_bytes for one in pieces)
        for one in pieces:
            if taken <= bytes_max and one.since_seconds >= since_seconds:
                break
            path = self._path(one.root, one.since_seconds)
            self._disk.remove(path.with_name(path.name + TREE_SUFFIX))
            self._disk.remove(path)
            taken -= one.allocated_bytes
            removed.append(one)
        return removed

    def _path(self, root: Root, since_seconds: int) -> Path:
        return self.directory / f"{root.hex()}.{since_seconds}"
