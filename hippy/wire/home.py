"""Which validator writes an account's records, and how an account moves to another (docs/PROTOCOL.md §3.6).

An account has one home. When that is gone, the account signs a :class:`HomeChange`, and a validator that followed the
home's log goes on where it ended. The account's **term** counts its homes from 1: of two that claim to be its home, the
one with the higher term is.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.errors import ProtocolError
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U32, Bytes16, Count, Key, Message32, Seconds

CHANGES_MAX: Final = 16
"""Changes of home that a release may show; an account that moved more often has old tickets no more."""


class HomeChange(SignedMessage):
    """The account's word that from now on ``new`` is its home, for the ``term``-th time; signed by the account.

    ``seq`` and ``head`` name the newest record of ``old``'s log that the account relies on, zero where it knows none:
    ``new`` does not take over before it has that record.
    """

    TYPE = "home-change"
    account: Key
    term: Annotated[int, Field(ge=2, le=2**32 - 1)]
    old: Key
    new: Key
    seq: Count
    head: Message32
    time: Seconds

    def check_shape(self) -> None:
        """Raises ProtocolError when it changes nothing."""
        if self.old == self.new:
            raise ProtocolError("a change of home names two validators")


class HomeRequest(Message):
    """``POST /v1/home``, by the account, to the new home; repeated until the answer says that it is done."""

    TYPE = "home-request"
    request_id: Bytes16
    account: Key
    change: HomeChange


class HomeAnswer(Message):
    """How far the move has come: records taken over so far, and whether it is done."""

    TYPE = "home-answer"
    segments: Count
    rows: Count
    state: Literal["moving", "done"]


class FenceRequest(Message):
    """``POST /v1/home/fence``, by the new home, to every other validator: acknowledge nothing more of the old one."""

    TYPE = "fence-request"
    change: HomeChange


class Fence(SignedMessage):
    """A validator's word that it acknowledges no later record about the account by its old home than ``seq``."""

    TYPE = "fence"
    validator: Key
    account: Key
    term: U32
    old: Key
    seq: Count
    head: Message32
    time: Seconds
