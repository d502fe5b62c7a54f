"""A file that is there to be given up: room for the index when somebody else fills the filesystem. Blocking.

Uploads leave the reserve of the settings free, and the reserve is the index's. But a filesystem has other tenants, and
they keep no promise. When they have filled it, the index could not write what is most urgent then: that pieces are
lost, that obligations have ended, that trash is removed, which is what makes room again. So the miner holds a file
that nobody needs, and removes it when next to nothing is free. It makes it again when there is plenty.

The alternatives: leaving the index alone with a full disk (it stops, and every node like it at the same moment), or a
filesystem of its own for the index (an operator may do so; a default can not).

Example::

    ballast = Ballast(data_dir / "ballast", SYSTEM_DISK, length_bytes=64 * MIB, reserve_bytes=GIB)
    ballast.keep()        # every few seconds
    ballast.give_up()     # the index met a full disk
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hippy.errors import TemporaryError
from hippy.miner.disk import Disk

log = logging.getLogger("hippy.miner")

CHUNK_BYTES: Final = 1024 * 1024
GIVE_UP_SHARE: Final = 4
"""It is given up when less than this part of it is free: the index flushes some 8 MiB at a time (hippy.kv)."""

MAKE_AGAIN_TIMES: Final = 2
"""It is made when the reserve and this many of it are free, so that it does not come and go."""


class Ballast:
    """One such file; of ``length_bytes`` 0 there is none."""

    def __init__(self, path: Path, disk: Disk, *, length_bytes: int, reserve_bytes: int) -> None:
        self._path = path
        self._disk = disk
        self._length_bytes = length_bytes
        self._reserve_bytes = reserve_bytes
        self.is_there = False
        """As of the last look."""

    def keep(self) -> int:
        """Give it up, or make it, as the filesystem's free bytes say, which are returned. Raises TemporaryError."""
        folder = self._path.parent
        self.is_there = self._path.name in self._disk.names(folder)
        free = self._disk.free_bytes(folder)
        if self.is_there and (not self._length_bytes or free < self._length_bytes // GIVE_UP_SHARE):
            self.give_up()
        elif self._length_bytes and not self.is_there:
            if free >= self._reserve_bytes + MAKE_AGAIN_TIMES * self._length_bytes:
                self._make()
        else:
            return free
        return self._disk.free_bytes(folder)

    def relieve(self) -> None:
        """Give it up if next to nothing is free: before a start, whose first writes are the index's.

        Raises TemporaryError.
        """
        if self._disk.free_bytes(self._path.parent) < self._length_bytes // GIVE_UP_SHARE:
            self.give_up()

    def give_up(self) -> None:
        """Remove it, if it is there. Raises TemporaryError."""
        if self._path.name not in self._disk.names(self._path.parent):
            return
        self._disk.remove(self._path)
        self._disk.sync_directory(self._path.parent)
        self.is_there = False
        if self._length_bytes:
            log.error(
                "the filesystem of %s is full: its ballast of %d bytes was given up for the index; free space there",
                self._path.parent,
                self._length_bytes,
            )

    def _make(self) -> None:
        """Bytes that no filesystem compresses; under another name until all are there, which a start drops."""
        draft = self._path.parent / "incoming" / self._path.name
        with suppress(TemporaryError):  # one that was not finished
            self._disk.remove(draft)
        chunk = os.urandom(min(CHUNK_BYTES, self._length_bytes))
        with self._disk.create(draft) as file:
            for start in range(0, self._length_bytes, len(chunk)):
                file.write(chunk[: self._length_bytes - start])
            file.sync()
        self._disk.rename(draft, self._path)
        self.is_there = True
