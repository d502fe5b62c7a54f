"""Settings of a miner: how much disk it offers, what it does beside serving, and how much memory uploads may take.

>>> settings = MinerSettings(network="local:net", hotkey_file="hotkey", data_dir="data", capacity_bytes=2**30)
>>> settings.body_bytes_in_flight_max // 2**20
64
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.miner.options import Chores, Extras
from hippy.settings import NodeSettings
from hippy.wire.pace import DAY

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

VALIDATOR_STAKE_MIN_RAO: Final = 1_000 * 10**9
"""Far above what miners earn before they sell it, far below what validators stake."""


BALLAST_BYTES: Final = 64 * MIB
"""Eight times what the index writes before it needs to compact (hippy.kv)."""


class MinerSettings(NodeSettings):
    """What ``hippy miner run`` reads from its TOML file and the environment."""

    capacity_bytes: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Bytes of pieces this miner takes in all; it is what ``hello`` tells."""

    disk_reserve_bytes: Annotated[int, Field(ge=0)] = GIB
    """Bytes of the filesystem that uploads leave free, whatever the capacity says: a full disk stops the index too."""

    validator_stake_min_rao: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """Stake, in rao (10^-9), that a validator with a permit needs for its tickets to count. None: 1,000 · 10^9 on
    Bittensor's networks, where miners that earn hold permits too; any on a local one."""

    body_bytes_in_flight_max: Annotated[int, Field(ge=PIECE_LENGTH_MAX)] = 64 * MIB
    """Memory for pieces that are being uploaded; it always has room for one piece."""

    ballast_bytes: Annotated[int, Field(ge=0, le=GIB)] | None = None
    """Length of a file that is given up when others have filled the filesystem, so that the index can still write;
    0: no such file. None: 64 MiB on Bittensor's networks, none on a local one."""

    scrub_days: Annotated[float, Field(ge=0.01, le=365)] = 30.0
    """Days in which every piece is read once in the background and held against its root."""

    scrub_bytes_per_second_max: Annotated[int, Field(ge=64 * 1024, le=GIB)] = 16 * MIB
    """How fast that may read when it fell behind; usually it is as slow as ``scrub_days`` allows."""

    quarantine_bytes_max: Annotated[int, Field(ge=0)] = GIB
    """Bytes of damaged pieces that are kept in ``quarantine/`` for you to look at; the oldest go first."""

    quarantine_days: Annotated[float, Field(ge=0, le=3650)] = 30.0
    """How long they are kept."""

    def extras(self, *, local: bool) -> Extras:
        """Return what else the store may take of its disk, on a network of this kind."""
        ballast_bytes = self.ballast_bytes
        if ballast_bytes is None:
            ballast_bytes = 0 if local else BALLAST_BYTES
        return Extras(ballast_bytes, self.quarantine_bytes_max, self.quarantine_days * DAY)

    def chores(self) -> Chores:
        """Return how the background work is to be done."""
        return Chores(self.scrub_days * DAY, self.scrub_bytes_per_second_max)

    def stake_min_rao(self, *, local: bool) -> int:
        """Return what stake a validator needs on a network of this kind."""
        return self.validator_stake_min_rao or (1 if local else VALIDATOR_STAKE_MIN_RAO)
