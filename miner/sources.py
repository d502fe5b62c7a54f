"""Reading the sources of a repair: k pieces at k miners, the same range of each at a time (PROTOCOL §7).

A source is used after a handshake with its hotkey. All sources are asked for a range at once and the next range is
read when the last answer is here, so that what is held is k ranges, not k pieces. Whether an answer is the piece's is
seen by hippy.miner.rebuilding.

A connection that breaks is tried once more, a source that is busy (429) a few times. A source that fails then ends
the reading: the others get a moment to fail too, so that the validator hears of all that are bad at once.

Example::

    sources = Sources(order, http, network, clock, local=chain.is_local, give_up_at=loop.time() + 60)
    met = await sources.meet()
    if not met.failed:
        read = await sources.read(0, 65_536)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from hippy.clock import Clock
from hippy.errors import HippyError, RateLimitedError, UnreachableError
from hippy.ids import NetworkId
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer
from hippy.transport.hello import shake_hands
from hippy.wire.repair import RepairOrder, RepairSource

PROOF_BYTES_MAX: Final = 1024
"""What an answer has beside its leaves: 22 bytes and the siblings of a range, at most 16 of 32 bytes."""

MORE_FAILURES_SECONDS: Final = 1.0
"""How long the others may still fail, once one source has."""

BUSY_PAUSE_SECONDS: Final = 1.0
BUSY_PAUSES: Final = 4
"""A source that says 429 is asked again after 1, 2, 4 and 8 s."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """What came of all sources, by their index; without those that ``failed``."""

    results: Mapping[int, T]
    failed: frozenset[int]


class Sources:
    """The sources of one order; given up at ``give_up_at`` of the event loop's clock."""

    def __init__(
        self, order: RepairOrder, http: Http, network: NetworkId, clock: Clock, *, local: bool, give_up_at: float
    ) -> None:
        self._order = order
        self._http = http
        self._network = network
        self._clock = clock
        self._local = local
        self._give_up_at = give_up_at

    async def meet(self) -> Gathered[None]:
        """Shake hands with all."""
        return await self._together(self._meet)

    async def read(self, offset: int, length: int) -> Gathered[bytes]:
        """Return the bodies of a ranged read of each piece, unchecked: ``length`` bytes from ``offset`` on."""
        deadline_seconds = limits.deadline_seconds(length * len(self._order.sources))  # they share our own pipe
        call_of = f"?offset={offset}&length={length}&proof=1"

        async def read(source: RepairSource) -> bytes:
            call = Call(
                "GET",
                f"/v1/pieces/{source.root.hex()}{call_of}",
                answer_bytes_max=length + PROOF_BYTES_MAX,
                deadline_seconds=deadline_seconds,
            )
            return await self._http.bytes(_peer(source), call)

        return await self._together(read)

    async def _meet(self, source: RepairSource) -> None:
        await shake_hands(self._http, _peer(source), "miner", self._network, local=self._local, clock=self._clock)

    async def _together(self, ask: Callable[[RepairSource], Coroutine[Any, Any, T]]) -> Gathered[T]:
        """Ask all sources at once, until all have answered, one has failed or time is up."""
        asking = {
            source.index: asyncio.create_task(self._patiently(partial(ask, source))) for source in self._order.sources
        }
        try:
            await self._wait(asking.values())
            return _gathered(asking)
        finally:
            for task in asking.values():
                task.cancel()
            await asyncio.gather(*asking.values(), return_exceptions=True)

    async def _wait(self, asking: Iterable[asyncio.Task[T]]) -> None:
        left_seconds = max(0.0, self._give_up_at - asyncio.get_running_loop().time())
        done, pending = await asyncio.wait(asking, timeout=left_seconds, return_when=asyncio.FIRST_EXCEPTION)
        if pending and any(task.exception() for task in done):
            await asyncio.wait(pending, timeout=MORE_FAILURES_SECONDS)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask one source, once more where the connection broke, a few times more where it is busy.

        Raises HippyError.
        """
        is_second, pauses = False, 0
        while True:
            try:
                return await ask()
            except UnreachableError:
                if is_second:
                    raise
                is_second = True
            except RateLimitedError:
                if pauses == BUSY_PAUSES:
                    raise
                await self._clock.sleep(BUSY_PAUSE_SECONDS * 2**pauses)
                pauses += 1


def _gathered(asking: Mapping[int, asyncio.Task[T]]) -> Gathered[T]:
    """Return what there is; those that are still being asked have failed only where no other has: time is up."""
    results, failed, pending = dict[int, T](), set[int](), set[int]()
    for index, task in asking.items():
        if not task.done():
            pending.add(index)
        elif (error := task.exception()) is None:
            results[index] = task.result()
        elif isinstance(error, HippyError):
            failed.add(index)
        else:
            raise error
    return Gathered(results, frozenset(failed or pending))


def _peer(source: RepairSource) -> Peer:
    return Peer(source.endpoint, source.miner)
