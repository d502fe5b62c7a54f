"""Puts together what several validators need of one: following others, being followed, and who answers for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.transport.client import Http
from hippy.transport.server import Guard, Route
from hippy.validator.directory import MinerDirectory
from hippy.validator.duty import Duty
from hippy.validator.following.copies import Copies
from hippy.validator.following.desk import FollowDesk
from hippy.validator.following.follower import FollowParts
from hippy.validator.following.followers import Followers
from hippy.validator.following.peers import Validators
from hippy.validator.following.recovering import Lapse
from hippy.validator.following.registries import Registries
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.log import Home
from hippy.wire.node import EncryptionKey
from hippy.wire.pace import Pace


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What it is given: ``signing`` is the validator's HTTP client, ``unsigned`` one for handshakes."""

    home: Home
    database: WatchedDatabase
    chain: Chain
    directory: MinerDirectory
    signing: Http
    unsigned: Http
    clock: Clock
    pace: Pace
    encryption_key: EncryptionKey


class Following:
    """One validator among others."""

    def __init__(self, given: Surroundings) -> None:
        home, database, clock = given.home, given.database, given.clock
        self._given = given
        self.database = database
        self.validators = Validators(given.unsigned, given.chain, given.directory, home, clock, given.encryption_key)
        parts = FollowParts(home, database, given.signing, self.validators, clock, given.pace)
        self.followers = Followers(parts)
        self.lapse = Lapse(parts)
        self.copies = Copies(home, database, clock, lambda: bool(self.validators.others()))
        self.registries = Registries(home, database, self.lapse)

    def routes(self, guard: Guard) -> Sequence[Route]:
        """Return the routes between validators."""
        given = self._given
        desk = FollowDesk(
            given.home,
            given.database,
            self.validators,
            self.copies,
            guard,
            given.clock,
            followed_seq=self.followers.seq_of,
            has_more=self.lapse.look_at,
        )
        return desk.routes()

    async def run(self) -> None:
        """Follow the others, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Duty(self._given.database, "follow", self._given.clock).run(self.followers.run))
            tasks.create_task(self.lapse.run())
