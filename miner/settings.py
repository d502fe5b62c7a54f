"""Settings of a miner: how much disk it offers and how much memory uploads may take.

>>> settings = MinerSettings(network="local:net", hotkey_file="hotkey", data_dir="data", capacity_bytes=2**30)
>>> settings.body_bytes_in_flight_max // 2**20
64
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.settings import NodeSettings

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

VALIDATOR_STAKE_MIN_RAO: Final = 1_000 * 10**9
"""Far above what miners earn before they sell it, far below what validators stake."""


class MinerSettings(NodeSettings):
    """What ``hippy miner run`` reads from its TOML file and the environment."""

    capacity_bytes: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Bytes of pieces this miner takes in all; it is what ``hello`` tells."""

    disk_reserve_bytes: Annotated[int, Field(ge=0)] = GIB
    """Bytes of the filesystem that stay free, whatever the capacity says: a full disk stops the index too."""

    validator_stake_min_rao: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """Stake, in rao (10^-9), that a validator with a permit needs for its tickets to count. None: 1,000 · 10^9 on
    Bittensor's networks, where miners that earn hold permits too; any on a local one."""

    body_bytes_in_flight_max: Annotated[int, Field(ge=PIECE_LENGTH_MAX)] = 64 * MIB
    """Memory for pieces that are being uploaded; it always has room for one piece."""

    def stake_min_rao(self, *, local: bool) -> int:
        """Return what stake a validator needs on a network of this kind."""
        return self.validator_stake_min_rao or (1 if local else VALIDATOR_STAKE_MIN_RAO)
