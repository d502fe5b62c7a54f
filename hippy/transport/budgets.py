"""Token buckets by address: how much of a server one address may use, in a table of bounded size.

Every address has three buckets: all its requests, those without a signature, and its failures. A bucket is one number,
the moment at which it will be full again (the generic cell rate algorithm): taking moves it on by 1 / rate, and what
would move it further ahead of now than the burst allows is refused. Addresses not seen for longest are forgotten first,
and one that is forgotten begins with full buckets: who has more addresses than the table is not held by it, but by the
caps on connections and memory.

The time is an argument, in seconds that never go back (``loop.time()``).

Example::

    budgets = Budgets(requests=Rate(10, 20), anonymous=Rate(5, 10), failures=Rate(1, 5))
    wait_seconds = budgets.admit("192.0.2.1", now, signed=False)   # 0.0: granted
    budgets.fail("192.0.2.1", now)                                 # it was answered 400
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hippy.transport.limits import ADDRESSES_MAX, Rate

_ROUNDING_SECONDS: Final = 1e-9
"""A bucket of one must grant one, whatever the sums of floats come to."""


class Budgets:
    """The buckets of the addresses seen lately, at most ``addresses_max`` of them."""

    def __init__(self, *, requests: Rate, anonymous: Rate, failures: Rate, addresses_max: int = ADDRESSES_MAX) -> None:
        self._request = _Bucket(requests)
        self._anonymous = _Bucket(anonymous)
        self._failure = _Bucket(failures)
        self._addresses_max = addresses_max
        self._rows: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def admit(self, address: str, now: float, *, signed: bool) -> float:
        """Take what a request costs and return 0; or take nothing and return in how many seconds it may come again."""
        row = self._row(address)
        requests_full, anonymous_full, failures_full = row
        if failures_full > now:
            wait_seconds = failures_full - now - self._failure.room_seconds
            if wait_seconds > 0:
                return wait_seconds
        wait_seconds = requests_full - now - self._request.room_seconds
        if not signed:
            wait_seconds = max(wait_seconds, anonymous_full - now - self._anonymous.room_seconds)
        if wait_seconds > 0:
            return wait_seconds
        row[0] = (requests_full if requests_full > now else now) + self._request.step_seconds
        if not signed:
            row[1] = (anonymous_full if anonymous_full > now else now) + self._anonymous.step_seconds
        return 0.0

    def is_failing(self, address: str, now: float) -> bool:
        """Return whether an address has no failures left."""
        row = self._rows.get(address)
        return row is not None and row[2] - now - self._failure.room_seconds > 0

    def fail(self, address: str, now: float) -> None:
        """Charge a failure, however many there were; nobody has to wait for longer than two bursts take."""
        row = self._row(address)
        row[2] = min(max(row[2], now) + self._failure.step_seconds, now + 2 * self._failure.burst_seconds)

    def _row(self, address: str) -> list[float]:
        row = self._rows.get(address)
        if row is None:
            if len(self._rows) >= self._addresses_max:
                self._rows.popitem(last=False)
            row = self._rows[address] = [0.0, 0.0, 0.0]
        else:
            self._rows.move_to_end(address)
        return row


class _Bucket:
    """A rate, as seconds: of one more, of a whole burst, and how far ahead of now a bucket with room for one is."""

    __slots__ = ("burst_seconds", "room_seconds", "step_seconds")

    def __init__(self, rate: Rate) -> None:
        self.step_seconds = 1.0 / rate.per_second
        self.burst_seconds = rate.burst / rate.per_second
        self.room_seconds = self.burst_seconds - self.step_seconds + _ROUNDING_SECONDS
