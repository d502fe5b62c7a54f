"""What validators say about an epoch before and after it, and miners before they are asked (PROTOCOL §5.2, §5.5).

An :class:`EpochHeader` fixes what an epoch's audits are drawn from and reveals the secret of the one before; two
for one epoch convict their validator. A :class:`LostReport` costs a miner the bytes it names and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.errors import ProtocolError
from hippy.ids import ZERO_ID
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, U32, Bytes32, Count, Key, Message32, Network, RootId, Seconds

HEADS_MAX: Final = 16
"""Logs that one validator keeps or follows."""

REPORTED_ROOTS_MAX: Final = 256
"""Roots in one lost report: 17 KB."""


class HeadName(Message):
    """The newest record of one home's log, as a header names it."""

    TYPE = "head-name"
    home: Key
    term: U32
    seq: Count
    head: Message32


class EpochHeader(SignedMessage):
    """What a validator's audits of one epoch are drawn from; ``revealed`` and the rest are of ``prev_epoch``."""

    TYPE = "epoch-header"
    network: Network
    netuid: U16
    validator: Key
    epoch: Count
    time: Seconds
    seed_commit: Bytes32
    prev_header: Message32
    prev_epoch: Count | None = None
    revealed: Bytes32 | None = None
    transcript_root: Bytes32 | None = None
    sheet_id: Message32 | None = None
    first_round: Count
    rounds: U32
    heads: Annotated[tuple[HeadName, ...], Field(min_length=1, max_length=HEADS_MAX)]

    def check_shape(self) -> None:
        """Raises ProtocolError unless what is told of the epoch before is told altogether, and of an earlier one."""
        told = [self.prev_epoch, self.revealed, self.transcript_root, self.sheet_id]
        is_first = self.prev_header == ZERO_ID
        if any((each is None) != is_first for each in told):
            raise ProtocolError("a header tells all of the epoch before, or nothing if it is the first")
        if self.prev_epoch is not None and self.prev_epoch >= self.epoch:
            raise ProtocolError("a header follows one of an earlier epoch")

    @property
    def is_committed(self) -> bool:
        """Whether an earlier header committed to this epoch's secret; else nothing is asked in it."""
        return self.prev_epoch is not None and self.prev_epoch + 1 == self.epoch


class Epochs(Message):
    """``GET /v1/epochs``: the first and last epoch whose headers are kept; gaps are possible."""

    TYPE = "epochs"
    first: Count
    last: Count


class LostReport(SignedMessage):
    """A miner's word that pieces it holds are gone; ``POST /v1/lost``."""

    TYPE = "lost-report"
    miner: Key
    validator: Key
    roots: Annotated[tuple[RootId, ...], Field(min_length=1, max_length=REPORTED_ROOTS_MAX)]
    time: Seconds


class LostAnswer(Message):
    """How many holdings of the report are recorded as lost now."""

    TYPE = "lost-answer"
    recorded: Count
