"""What a network of one account must answer: a plain record of who wrote what, when, and whether it was told so.

A name is a register. A read may return what a write wrote, unless another write that was acknowledged lies wholly
between the two: began after that write ended (was acknowledged, failed, or its client died) and ended before the read
began. A write that failed without a reason that rules it out may have happened, or not, or happen while others run.

Nothing else may be returned: no other bytes, no half of them, no older version. This is the promise *acknowledged
means retrievable, unacknowledged means invisible or whole*, and no more than it: of two writes at once either may win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Write:
    """One attempt to change a name. Without an end it still runs.

    ``contents`` are what it may have written: one, None for a deletion, or what the source of a copy may have held.
    """

    contents: Sequence[bytes | None]
    began: int
    ended: int | None = None
    is_acknowledged: bool = False
    source: Register | None = None

    def possible(self, ended: int) -> Sequence[bytes | None]:
        """Return what may have been written by a moment."""
        if self.source is None or self.ended is not None:
            return self.contents
        source, self.source = self.source, None  # two copies at once may each be the other's source
        try:
            return [content for content in source.allowed(self.began, ended) if content is not None]
        finally:
            self.source = source


@dataclass(slots=True)
class Register:
    """One name."""

    writes: list[Write] = field(default_factory=lambda: [Write([None], -1, -1, is_acknowledged=True)])

    def allowed(self, began: int, ended: int) -> list[bytes | None]:
        """Return what a read of that time may have found."""
        found = [write for write in self.writes if write.began < ended and not self._is_over(write, began)]
        return [content for write in found for content in write.possible(ended)]

    def _is_over(self, write: Write, by: int) -> bool:
        """Return whether an acknowledged write replaced this one for good before ``by``."""
        return write.ended is not None and any(
            other.is_acknowledged and other.began > write.ended and other.ended is not None and other.ended < by
            for other in self.writes
        )


class Model:
    """All names, and a count of moments that orders what is begun and ended."""

    def __init__(self) -> None:
        self.names: dict[str, Register] = {}
        self._moment = 0

    def moment(self) -> int:
        """Return the number of this moment; no two are the same."""
        self._moment += 1
        return self._moment

    def begin(self, name: str, content: bytes | None) -> Write:
        """Note that a write begins."""
        write = Write([content], self.moment())
        self.register(name).writes.append(write)
        return write

    def begin_copy(self, source: str, target: str) -> Write:
        """Note that a copy begins."""
        write = Write((), self.moment(), source=self.register(source))
        self.register(target).writes.append(write)
        return write

    def acknowledged(self, write: Write) -> None:
        """Note that the writer was told of its success."""
        self.failed(write)
        write.is_acknowledged = True

    def failed(self, write: Write) -> None:
        """Note that nobody knows whether it happened."""
        ended = self.moment()
        write.contents = write.possible(ended)
        write.ended = ended

    def refused(self, name: str, write: Write) -> None:
        """Note that it certainly did not happen."""
        self.register(name).writes.remove(write)

    def check(self, name: str, began: int, found: bytes | None) -> str | None:
        """Return what is wrong with a read that began at a moment and found something, or None."""
        allowed = self.register(name).allowed(began, self.moment())
        if found in allowed:
            return None
        return f"{name} reads as {shown(found)}, allowed: {', '.join(map(shown, allowed))}"

    def register(self, name: str) -> Register:
        """Return what is known of a name."""
        return self.names.setdefault(name, Register())


def shown(content: bytes | None) -> str:
    """Return a content as a history names it."""
    return "nothing" if content is None else f"{len(content)} bytes {content[:4].hex()}"
