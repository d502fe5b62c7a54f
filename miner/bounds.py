"""What a miner gives away at once: memory for bodies, room on the disk, a share for each peer, a piece's files.

Everything here is counted in the event loop's thread, so taking is exact: two uploads never get the same byte.
What is taken comes back through a :class:`Hold`, which can be released twice and counts once.

>>> budget = Budget(100, "bytes of uploads")
>>> with budget.take(60):
...     budget.left
40
>>> budget.left
100
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from types import TracebackType
from typing import Final

from hippy.errors import NoSpaceError, RateLimitedError
from hippy.ids import PublicKey, Root

DISK_OVERHEAD_BYTES: Final = 16 * 1024
"""What a piece may take on the disk beside its bytes: a tree of at most 8 KiB, and two ends of files."""


class Hold:
    """Something taken; a context manager that gives it back."""

    __slots__ = ("_give_back",)

    def __init__(self, *give_back: Callable[[], None]) -> None:
        self._give_back = list(give_back)

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        while self._give_back:
            self._give_back.pop()()

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Budget:
    """A number of bytes that may be out at once."""

    def __init__(self, limit_bytes: int, name: str) -> None:
        self._name = name
        self.left = limit_bytes

    def take(self, length: int) -> Hold:
        """Take ``length`` bytes.

        Raises RateLimitedError when fewer are left.
        """
        if length > self.left:
            raise RateLimitedError(f"too many {self._name} at once", hint="try again in a moment")
        self.left -= length
        return Hold(lambda: self._give_back(length))

    def _give_back(self, length: int) -> None:
        self.left += length


class Space:
    """The disk's room: bytes used (the index says), promised to uploads, and free on the filesystem."""

    def __init__(self, capacity_bytes: int, disk_reserve_bytes: int, used_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = used_bytes
        self._disk_reserve_bytes = disk_reserve_bytes
        self._promised_bytes = 0
        self._promised_disk_bytes = 0

    def take(self, length: int, disk_free_bytes: int, *, is_used: bool = False) -> Hold:
        """Promise ``length`` bytes to an upload, given what the filesystem has free now.

        ``is_used``: the index counts them already, for the piece was here before. The filesystem has to have room for
        all that is promised, each upload with its tree, above the reserve, which is the index's; an upload that is
        written but not yet released counts twice there: too careful, never too bold. Raises NoSpaceError when the
        capacity or the reserve would be broken.
        """
        counted, on_disk = 0 if is_used else length, length + DISK_OVERHEAD_BYTES
        if counted and self.used_bytes + self._promised_bytes + counted > self.capacity_bytes:
            raise NoSpaceError(f"this miner's {self.capacity_bytes} bytes are full", hint="ask another miner")
        if disk_free_bytes - self._promised_disk_bytes - on_disk < self._disk_reserve_bytes:
            raise NoSpaceError("this miner's disk is full up to its reserve", hint="ask another miner")
        self._promised_bytes += counted
        self._promised_disk_bytes += on_disk
        return Hold(lambda: self._give_back(counted, on_disk))

    def _give_back(self, counted: int, on_disk: int) -> None:
        self._promised_bytes -= counted
        self._promised_disk_bytes -= on_disk


class Shares:
    """At most ``limit`` at once for each peer; nobody waits, and who has none takes no memory."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._taken: dict[PublicKey, int] = {}

    def take(self, peer: PublicKey) -> Hold:
        """Take one of a peer's.

        Raises RateLimitedError when it has all of them.
        """
        taken = self._taken.get(peer, 0)
        if taken >= self._limit:
            raise RateLimitedError(f"more than {self._limit} {self._name} at once", hint="wait for an answer")
        self._taken[peer] = taken + 1
        return Hold(lambda: self._give_back(peer))

    def _give_back(self, peer: PublicKey) -> None:
        self._taken[peer] -= 1
        if not self._taken[peer]:
            del self._taken[peer]


class Claims:
    """Who is at a piece's files: uploads, any number at once, or whoever takes the files away, alone.

    An upload waits for a removal of its piece, which is short; a removal waits for nobody and leaves pieces alone that
    are being uploaded. So bytes that an upload found here, or made durable, are there when its row is written.
    """

    def __init__(self) -> None:
        self._shared: dict[Root, int] = {}
        self._alone: dict[Root, asyncio.Event] = {}

    async def share(self, root: Root) -> Hold:
        """Keep others from taking a piece's files away, once nobody does."""
        while (ended := self._alone.get(root)) is not None:
            await ended.wait()
        self._shared[root] = self._shared.get(root, 0) + 1
        return Hold(lambda: self._end_sharing(root))

    def alone(self, roots: Collection[Root]) -> tuple[list[Root], Hold]:
        """Return those of these pieces that nobody is at, which are now the caller's alone."""
        free = [root for root in roots if root not in self._shared and root not in self._alone]
        for root in free:
            self._alone[root] = asyncio.Event()
        return free, Hold(*(partial(self._end_alone, root) for root in free))

    def _end_sharing(self, root: Root) -> None:
        self._shared[root] -= 1
        if not self._shared[root]:
            del self._shared[root]

    def _end_alone(self, root: Root) -> None:
        self._alone.pop(root).set()
