"""Since when each miner has been silent to this validator: the ground of what it attests (PROTOCOL §5.5).

A contact is a handshake, an answer to an audit or a piece that was read. Handshakes the directory remembers, the others
are noted here. All in memory: of what was before its start a run knows nothing, so it says of nobody that it was silent
since before that.

Example::

    contacts = Contacts(directory, clock)
    contacts.note(miner)
    contacts.silent_since(miner)
"""

from __future__ import annotations

from typing import Final, Protocol

from hippy.clock import Clock
from hippy.ids import PublicKey

NOTED_MAX: Final = 16_384
"""Miners that are remembered, also of those that left and may be back."""


class Sightings(Protocol):
    """When miners were last seen."""

    def last_seen_time(self, hotkey: PublicKey) -> int | None:
        """Return when a handshake with a miner last succeeded, in Unix seconds."""


class Contacts:
    """The last contact with every miner."""

    def __init__(self, sightings: Sightings, clock: Clock) -> None:
        self._sightings = sightings
        self._clock = clock
        self._began = int(clock.now())
        self._noted: dict[PublicKey, int] = {}

    def note(self, miner: PublicKey) -> None:
        """Note a contact that succeeded now, and was no handshake."""
        self._noted.pop(miner, None)
        self._noted[miner] = int(self._clock.now())
        while len(self._noted) > NOTED_MAX:
            del self._noted[next(iter(self._noted))]

    def silent_since(self, miner: PublicKey) -> int:
        """Return from when on no contact with a miner has succeeded, in Unix seconds; not before this run began."""
        return max(self._began, self._sightings.last_seen_time(miner) or 0, self._noted.get(miner, 0))
