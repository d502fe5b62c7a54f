"""What shows that a change is safe: acknowledgements by the followers of its home (docs/PROTOCOL.md §3.6, §5.7)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.wire.canonical import SignedMessage
from hippy.wire.fields import U16, U32, Count, Key, Message32, Seconds

ACKS_MAX: Final = 8
"""Acknowledgements that an answer shows; ``copies`` counts them all."""


class FollowerAck(SignedMessage):
    """A follower's word that every record of a home's log up to ``seq`` is durable at it; signed by the follower."""

    TYPE = "follower-ack"
    follower: Key
    home: Key
    netuid: U16
    term: U32
    seq: Count
    head: Message32
    time: Seconds


Acks = Annotated[tuple[FollowerAck, ...], Field(max_length=ACKS_MAX)]
