"""How validators keep copies of each other's registries (docs/PROTOCOL.md §5.7).

A follower asks a home for the records behind what it has, with the bodies that are for validators only and the
manifests, stores them, and says so with the next question: a signed :class:`FollowerAck`, on which the home tells its
client that a change is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from hippy.wire.canonical import Message
from hippy.wire.copies import FollowerAck
from hippy.wire.fields import Count, Key, Message32, Seconds
from hippy.wire.log import LOG_PAGE_MAX, LogEntry, LogHead

FOLLOW_BYTES_MAX: Final = 64 * 1024
FOLLOW_ANSWER_BYTES_MAX: Final = 48 * 1024 * 1024
"""8 MiB of records, private bodies, and 32 MiB of manifests."""

FOLLOW_MANIFESTS_BYTES_MAX: Final = 32 * 1024 * 1024
WAIT_SECONDS_MAX: Final = 10
"""Half of what a caller lets a peer be silent for."""


class FollowRequest(Message):
    """``POST /v1/follow``, by a validator: the records of ``home``'s log behind ``after``.

    ``home`` is the one that is asked, or another that it follows. Nothing new: the answer waits up to ``wait_seconds``.
    """

    TYPE = "follow-request"
    home: Key
    after: Count
    wait_seconds: Annotated[int, Field(ge=0, le=WAIT_SECONDS_MAX)]
    ack: FollowerAck | None = None


class FollowPage(Message):
    """Whole entries in order, the home's signed head for the last of them, manifests of rows that are still current.

    Without entries, the head is that of the newest record; it is absent in a log without records alone. ``newest_seq``
    is the newest record that the one who answers has.
    ``manifests`` names them by the place of their row's entry in this page, with their lengths; they follow as blobs.
    """

    TYPE = "follow-page"
    home: Key
    newest_seq: Count
    entries: Annotated[tuple[LogEntry, ...], Field(max_length=LOG_PAGE_MAX)]
    head: LogHead | None = None
    manifests: Annotated[tuple[ManifestPlace, ...], Field(max_length=LOG_PAGE_MAX)] = ()

    def blob_lengths(self) -> Sequence[int]:
        """Return how long the manifests are."""
        return [place.length for place in self.manifests]


class ManifestPlace(Message):
    """Which entry of a page a manifest belongs to."""

    TYPE = "manifest-place"
    entry: Annotated[int, Field(ge=0, lt=LOG_PAGE_MAX)]
    length: Count


class Equivocation(Message):
    """Two heads that one home signed and that cannot both be of one log: at one seq, or beside a verified chain.

    ``theirs`` was shown later than ``ours``; where their seqs differ, ``record`` is the id of the record that the
    follower's verified chain has at the lower one.
    """

    TYPE = "equivocation"
    home: Key
    ours: LogHead
    theirs: LogHead
    record: Message32
    found_time: Seconds


FollowPage.model_rebuild()
