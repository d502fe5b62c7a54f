"""Several validators in numbers, for metrics: how far we follow others, and how far others follow us.

Example::

    await FollowingFigures(database, following.followers, following.copies, following.lapse).samples()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hippy.identity import ss58_encode
from hippy.kv import Reader
from hippy.transport.figures import Metric, Sample
from hippy.validator.following.copies import Copies
from hippy.validator.following.equivocations import equivocations
from hippy.validator.following.followers import Followers
from hippy.validator.following.recovering import Lapse
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.page.figures import FollowedLog

FOLLOWED: Final = Metric(
    "hippy_validator_followed_records", "gauge", "Records that we have of another validator's log.", ("home",)
)
BEHIND: Final = Metric(
    "hippy_validator_followed_behind_records", "gauge", "Records of it that we know of and have not.", ("home",)
)
FOLLOWERS: Final = Metric(
    "hippy_validator_followers", "gauge", "Validators that acknowledged records of our log a moment ago."
)
LACKING: Final = Metric(
    "hippy_validator_follower_behind_records", "gauge", "Records of our log that a follower has not.", ("follower",)
)
EQUIVOCATING: Final = Metric(
    "hippy_validator_equivocating_homes", "gauge", "Validators that signed two logs; they are followed no further."
)
LAPSED: Final = Metric(
    "hippy_validator_lapsed", "gauge", "1 while no change is taken because our registry is an old copy, else 0."
)
METRICS: Final = (FOLLOWED, BEHIND, FOLLOWERS, LACKING, EQUIVOCATING, LAPSED)


class FollowingFigures:
    """The samples of one validator among others."""

    def __init__(self, database: WatchedDatabase, followers: Followers, copies: Copies, lapse: Lapse) -> None:
        self._database = database
        self._followers = followers
        self._copies = copies
        self._lapse = lapse

    async def samples(self) -> list[Sample]:
        """Return what is so now."""

        def look(reader: Reader) -> tuple[Sequence[FollowedLog], int]:
            return self._followers.logs(reader), sum(1 for _ in equivocations(reader))

        return list(self._samples(*await self._database.read(look)))

    def _samples(self, logs: Sequence[FollowedLog], equivocating: int) -> Iterator[Sample]:
        for each in logs:
            yield FOLLOWED.sample(each.seq, ss58_encode(each.home))
            yield BEHIND.sample(each.known_seq - each.seq, ss58_encode(each.home))
        live, end = self._copies.live(), self._database.newest.seq
        yield FOLLOWERS.sample(len(live))
        for ack in live:
            yield LACKING.sample(max(0, end - ack.seq), ss58_encode(ack.follower))
        yield EQUIVOCATING.sample(equivocating)
        yield LAPSED.sample(int(self._lapse.reason is not None))
