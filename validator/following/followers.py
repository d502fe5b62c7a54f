"""All other homes, followed: one task for each validator of the metagraph, as long as it is one.

What was followed once is kept and answered, also of a validator that left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hippy.ids import PublicKey
from hippy.kv import Database, Reader
from hippy.validator.following.follower import Follower, FollowParts
from hippy.validator.following.replica import followed_homes, progress, reader_of
from hippy.validator.page.figures import FollowedLog

LOOK_SECONDS: Final = 1.0
"""Between two looks at who is a validator; looking costs nothing, the metagraph is read elsewhere."""


class Followers:
    """The logs that are followed; :meth:`run` it."""

    def __init__(self, parts: FollowParts) -> None:
        self._parts = parts
        self._running: dict[PublicKey, tuple[Follower, asyncio.Task[None]]] = {}

    async def run(self, database: Database) -> None:
        """Follow every other validator, until cancelled; ``database`` is the registry's, or a guarded one over it."""
        parts = replace(self._parts, database=database)
        self._running.clear()
        async with asyncio.TaskGroup() as tasks:
            while True:
                wanted = {peer.hotkey for peer in self._parts.validators.others()}
                for home in self._running.keys() - wanted:
                    _, task = self._running.pop(home)
                    task.cancel()
                for home in sorted(wanted - self._running.keys()):
                    follower = Follower(parts, home)
                    self._running[home] = follower, tasks.create_task(follower.run())
                await self._parts.clock.sleep(LOOK_SECONDS)

    def seq_of(self, home: PublicKey) -> int:
        """Return the newest record that we have of a home that is followed now, 0 for none."""
        running = self._running.get(home)
        return 0 if running is None else running[0].progress.at.seq

    def logs(self, reader: Reader) -> Sequence[FollowedLog]:
        """Return how far every log is followed, also of those who left, by home."""
        found = []
        for home in followed_homes(reader):
            here = progress(reader_of(reader, home))
            running = self._running.get(home)
            known_seq = here.at.seq if running is None else max(here.at.seq, running[0].known_seq)
            found.append(FollowedLog(home, here.at.seq, known_seq, here.time))
        return found
