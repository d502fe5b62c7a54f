"""Miners that want to leave: what they said, and what they still hold (PROTOCOL §7).

A miner that drains gets no new piece, and its pieces are copied to others once nothing more urgent is to be done;
its holdings count as long as they last. When it holds nothing any more, it may go without a loss.

Invariant: a miner has a row in DRAIN exactly when the newest ``drain`` record about it says start.

Example::

    check_drain(drain, sender, home, now)
    left = await database.transact(lambda txn: record_drain(txn, home, drain, now))
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hippy.errors import AuthError
from hippy.ids import ID_BYTES, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.held import HeldPiece
from hippy.validator.holdings import held_behind
from hippy.validator.log import Home, append
from hippy.validator.tables import DRAIN, HELD_BYTES, HELD_COUNT, get_count
from hippy.wire.canonical import check_time
from hippy.wire.repair import Drain, DrainAnswer


def check_drain(drain: Drain, sender: PublicKey, home: Home, now: float) -> None:
    """Check that a miner says this of itself, to us and just now; slow (a signature).

    Raises AuthError for another's word or one to another validator, ProtocolError for a time too far from ours.
    """
    if drain.miner != sender:
        raise AuthError("the request is about another miner than the one that sent it")
    if drain.validator != home.hotkey:
        raise AuthError("the request is addressed to another validator")
    check_time(drain.time, now)
    drain.check_signature(sender, home.network)


def record_drain(txn: Transaction, home: Home, drain: Drain, now: int) -> DrainAnswer:
    """Record that a miner wants to leave, or to stay, and return what it still holds; said again it changes nothing."""
    wants_to_leave = drain.action == "start"
    if wants_to_leave != is_draining(txn, drain.miner):
        append(txn, home, [drain], now)
        fold_drain(txn, drain)
    return left_of(txn, drain.miner)


def fold_drain(txn: Transaction, drain: Drain) -> None:
    """Take over a miner's word as it is logged."""
    if drain.action == "start":
        txn.put(DRAIN + drain.miner, drain.encode())
    else:
        txn.delete(DRAIN + drain.miner)


def left_of(reader: Reader, miner: PublicKey) -> DrainAnswer:
    """Return how many pieces a miner still holds, and their bytes; a piece of two segments counts twice."""
    return DrainAnswer(pieces=get_count(reader, HELD_COUNT + miner), bytes=get_count(reader, HELD_BYTES + miner))


def is_draining(reader: Reader, miner: PublicKey) -> bool:
    """Return whether a miner wants to leave."""
    return reader.get(DRAIN + miner) is not None


def draining(reader: Reader) -> frozenset[PublicKey]:
    """Return the miners that want to leave."""
    return frozenset(PublicKey(key[-ID_BYTES:]) for key, _ in reader.scan(DRAIN))


def next_pieces(reader: Reader, miner: PublicKey, after: HeldPiece | None, limit: int) -> list[HeldPiece]:
    """Return up to ``limit`` pieces that a miner holds now, those behind ``after``."""
    found: Iterator[HeldPiece] = held_behind(reader, miner, after)
    return list(islice(found, limit))
