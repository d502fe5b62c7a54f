"""Who works on which entry of a queue, in one process: the leases of embedded databases (hippy.kv.Database.lease).

A queue is the rows below a key prefix; a lease keeps others from an entry for a while. Leases live in memory: whoever
could hold one is in this process, and dies with it. Not for several threads at once.

>>> leases = WorkLeases()
>>> entries = [(b"q/1", b""), (b"q/2", b"")]
>>> leases.take(entries, b"me", now=0.0, seconds=10, limit=1)
[(b'q/1', b'')]
>>> leases.take(entries, b"you", now=5.0, seconds=10, limit=9)
[(b'q/2', b'')]
>>> leases.take(entries, b"you", now=10.0, seconds=10, limit=9)
[(b'q/1', b'')]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from hippy.errors import UsageError

LEASED_MAX: Final = 4_096
"""Entries that one call takes, or that one call renews or gives back."""

HOLDER_BYTES_MAX: Final = 64


class WorkLeases:
    """Which entries are leased to whom, until when."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[bytes, float]] = {}

    def take(
        self, entries: Iterable[tuple[bytes, bytes]], holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Lease the first ``limit`` entries that nobody holds; forgets leases that ran out."""
        self._held = {key: lease for key, lease in self._held.items() if lease[1] > now}
        taken = list(islice((entry for entry in entries if entry[0] not in self._held), limit))
        self._held |= {key: (holder, now + seconds) for key, _ in taken}
        return taken

    def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """Lengthen leases of a holder that have not run out; return which."""
        ours = [key for key in keys if self._is_held(key, holder, now)]
        self._held |= dict.fromkeys(ours, (holder, now + seconds))
        return ours

    def give_back(self, keys: Sequence[bytes], holder: bytes) -> None:
        """End leases of a holder."""
        for key in keys:
            if key in self._held and self._held[key][0] == holder:
                del self._held[key]

    def _is_held(self, key: bytes, holder: bytes, now: float) -> bool:
        held = self._held.get(key)
        return held is not None and held[0] == holder and held[1] > now


def check_lease(holder: bytes, *, seconds: float, limit: int) -> None:
    """Raises UsageError for what no implementation takes."""
    if not 1 <= len(holder) <= HOLDER_BYTES_MAX:
        raise UsageError(f"a lease's holder has 1 to {HOLDER_BYTES_MAX} bytes")
    if seconds <= 0 or not 1 <= limit <= LEASED_MAX:
        raise UsageError(f"a lease is for some time, and of 1 to {LEASED_MAX} entries")
