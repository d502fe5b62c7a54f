"""Proofs that a home signed two logs: kept for good, shown to everybody (PROTOCOL §5.7).

``equiv/`` home → equivocation. One is enough: the home's log is followed no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hippy.ids import PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.following.replica import newest_signed, record_id, transaction_of
from hippy.validator.tables import get_message
from hippy.wire.follow import Equivocation
from hippy.wire.log import LogHead

EQUIVOCATION: Final = b"equiv/"


def note_equivocation(
    txn: Transaction, home: PublicKey, theirs: LogHead, network: bytes, now: int
) -> Equivocation | None:
    """Keep the proof that a home signed ``theirs`` beside the log that we have of it.

    None when it is none after all: nothing is signed that we have, or what we have goes with ``theirs``.
    """
    replica = transaction_of(txn, home)
    ours = newest_signed(replica)
    if ours is None:
        return None
    lower = min(ours.seq, theirs.seq)
    record = record_id(replica, lower, network)
    if theirs.seq <= ours.seq and theirs.head == record:
        return None
    proof = Equivocation(home=home, ours=ours, theirs=theirs, record=record, found_time=now)
    if txn.get(EQUIVOCATION + home) is None:
        txn.put(EQUIVOCATION + home, proof.encode())
    return proof


def equivocation_of(reader: Reader, home: PublicKey) -> Equivocation | None:
    """Return the proof against a home, None where there is none."""
    return get_message(reader, EQUIVOCATION + home, Equivocation)


def equivocations(reader: Reader) -> Iterator[Equivocation]:
    """Yield the proofs there are, by home."""
    for _, value in reader.scan(EQUIVOCATION):
        yield Equivocation.parse(value)
