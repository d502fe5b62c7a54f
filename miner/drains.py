"""The miner's wish to leave, and who is to know of it, as the index keeps them (PROTOCOL §7, Leaving).

Rows (beside those of hippy.miner.tables)::

    "meta/drain"            u64 time of the newest wish ‖ "start" or "stop"; none: it never wanted to leave
    "drain/" ‖ validator    empty; this validator was told, or is about to be, that the miner leaves

A validator's row is written before it is told and removed when it has answered to ``stop``: so it is told of that too,
whenever the miner was restarted in between.

Example::

    drains = DrainIndex(database)
    await drains.load()
    await drains.wish(Wish("start", now))
    drains.is_on        # from then on, and after every restart, until Wish("stop", …)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from hippy.hashing import u64
from hippy.ids import PublicKey
from hippy.kv import Database, Reader, Transaction
from hippy.miner.tables import TIME_BYTES, number

DRAIN_KEY: Final = b"meta/drain"
DRAIN: Final = b"drain/"

Action = Literal["start", "stop"]
_ACTIONS: Final[dict[bytes, Action]] = {b"start": "start", b"stop": "stop"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants, and since when, Unix seconds."""

    action: Action = "stop"
    time: int = 0


class DrainIndex:
    """The rows, and the newest wish in memory, for every ticket asks for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.newest = Wish()
        """The newest wish; durable, once :meth:`load` was awaited."""

    @property
    def is_on(self) -> bool:
        """Whether this miner is leaving, and so takes nothing new."""
        return self.newest.action == "start"

    async def load(self) -> None:
        """Read what was wished last."""
        self.newest = await self._database.read(_newest)

    async def wish(self, wish: Wish) -> None:
        """Remember a wish, durably; one that changes nothing leaves the one before. Raises TemporaryError."""

        def write(state: Transaction) -> Wish:
            before = _newest(state)
            if before.action == wish.action:
                return before
            state.put(DRAIN_KEY, u64(wish.time) + wish.action.encode())
            return wish

        self.newest = await self._database.transact(write)

    async def add(self, validators: Collection[PublicKey]) -> None:
        """Remember, durably, that these validators are about to be told that it leaves. Raises TemporaryError."""

        def write(state: Transaction) -> None:
            for validator in validators:
                state.put(DRAIN + validator, b"")

        await self._database.transact(write)

    async def forget(self, validator: PublicKey) -> None:
        """Remember that a validator knows that the miner stays. Raises TemporaryError."""
        await self._database.transact(lambda state: state.delete(DRAIN + validator))

    async def validators(self) -> list[PublicKey]:
        """Return who was told, or was about to be, that the miner leaves, and does not know of the end of that."""
        return await self._database.read(lambda state: [PublicKey(key[len(DRAIN) :]) for key, _ in state.scan(DRAIN)])


def _newest(state: Reader) -> Wish:
    raw = state.get(DRAIN_KEY)
    return Wish() if raw is None else Wish(_ACTIONS[raw[TIME_BYTES:]], number(raw[:TIME_BYTES]))
