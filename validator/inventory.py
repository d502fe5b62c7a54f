"""What has become of the obligations that a miner asks about (PROTOCOL §4.2).

:func:`states_of` reads, :func:`answer` signs the releases; 256 of them take some 0.1 s and belong in a thread. A
release names one ticket of the miner that asks, so it ends no other obligation, whoever gets hold of it.

Tickets are not stored once their allocation is closed. So "can no longer be committed" is told by what is: a committed
segment's record names all tickets that count, and its allocation, whose upload_by was the last, is closed an hour after
that; a closed one's tickets are all void. Tickets of repairs are stored until their miner holds the piece; who held it
before stays known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hippy.errors import AuthError
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Reader
from hippy.validator.holdings import current_holding, former_holdings, is_holder
from hippy.validator.leases import Life, get_life
from hippy.validator.log import Home, read_entry
from hippy.validator.repair.jobs import is_under_way, tried
from hippy.validator.tables import ALLOCATION, CLOSED, SEGMENT, get_count, get_segment
from hippy.wire.object import Drop
from hippy.wire.release import (
    UNCOMMITTED_SECONDS,
    InventoryAnswer,
    InventoryRequest,
    OwedTicket,
    Release,
    ReleaseReason,
    TicketState,
)
from hippy.wire.ticket import Receipt

_LIVE, _UNKNOWN = TicketState(state="live"), TicketState(state="unknown")


@dataclass(frozen=True, slots=True)
class Ended:
    """Why, and by which record of the log, an obligation ended."""

    reason: ReleaseReason
    seq: int
    drop: Drop | None = None
    receipt: Receipt | None = None


State = Ended | Literal["live", "unknown"]


def check_inventory(request: InventoryRequest, sender: PublicKey) -> None:
    """Raises AuthError unless a miner asks about its own tickets."""
    if request.miner != sender:
        raise AuthError("the inventory is of another miner than the one that sent it")


def states_of(reader: Reader, home: Home, request: InventoryRequest, now: int) -> list[State]:
    """Return what became of each ticket of an inventory."""
    return [_state(reader, home, request.miner, owed, now) for owed in request.tickets]


def _state(reader: Reader, home: Home, miner: PublicKey, owed: OwedTicket, now: int) -> State:
    life = get_life(reader, owed.segment_id)
    if life is not None:
        return _state_of_committed(reader, home, miner, owed, life, now)
    if reader.get(ALLOCATION + owed.segment_id) is not None:
        return "live"
    closed_seq = get_count(reader, CLOSED + owed.segment_id)
    return Ended("uncommitted", closed_seq) if closed_seq else "unknown"


def _state_of_committed(reader: Reader, home: Home, miner: PublicKey, owed: OwedTicket, life: Life, now: int) -> State:
    if not life.is_released and is_holder(reader, miner, owed.root, owed.segment_id, owed.index):
        return "live"  # most of them; the record need not be read
    roots, holdings = _told_by_record(reader, owed.segment_id)
    if owed.index >= len(roots) or roots[owed.index] != owed.root.hex():
        return "unknown"
    if (owed.index, owed.ticket_id.hex(), miner.hex()) in holdings:
        # If it is not released, its piece was lost, or it is being marked so.
        return _released(reader, life) if life.is_released else "live"
    if _is_former(reader, miner, owed):
        return _released(reader, life) if life.is_released else _moved(reader, owed)
    return _state_of_uncommitted(reader, home, miner, owed, life, now)


def _released(reader: Reader, life: Life) -> Ended:
    body = read_entry(reader, life.released_seq).released
    assert body is not None, "a life names the record that released it"
    return Ended(body.reason, life.released_seq, body.drop)


def _is_former(reader: Reader, miner: PublicKey, owed: OwedTicket) -> bool:
    """Whether a ticket is that of a holding whose piece was handed over to another miner."""
    former = former_holdings(reader, owed.segment_id, owed.index)
    return any((holding.miner, holding.ticket_id) == (miner, owed.ticket_id) for _, holding in former)


def _moved(reader: Reader, owed: OwedTicket) -> State:
    """Return the end of such a ticket: it has come when somebody holds the piece now, by the record of that."""
    record = get_segment(reader, owed.segment_id)
    assert record is not None, "what was committed is kept"
    found = current_holding(reader, record, owed.index)
    if found is None:
        return "live"  # the next holder lost it as well: these bytes may be the last
    holding, seq = found
    return Ended("moved", seq, receipt=holding.receipt(owed.root, record.spec.piece_length))


def _state_of_uncommitted(
    reader: Reader, home: Home, miner: PublicKey, owed: OwedTicket, life: Life, now: int
) -> State:
    """Return the state of a ticket that no holding has: of a repair, or of the segment's allocation."""
    for given in tried(reader, owed.segment_id, owed.index):
        if (given.miner, given.ticket_id) != (miner, owed.ticket_id):
            continue
        record = get_segment(reader, owed.segment_id)
        assert record is not None, "what was committed is kept"
        is_open = not life.is_released and is_under_way(reader, home, record, owed.index, owed.ticket_id)
        is_over = not is_open and now >= given.upload_by + UNCOMMITTED_SECONDS
        return Ended("uncommitted", life.committed_seq) if is_over else "live"
    is_over = reader.get(ALLOCATION + owed.segment_id) is None
    return Ended("uncommitted", life.committed_seq) if is_over else "live"


def _told_by_record(reader: Reader, segment_id: SegmentId) -> tuple[list[str], set[tuple[int, str, str]]]:
    """Return a committed segment's roots, and its holdings as index, ticket and miner; ids in hex, as they are stored.

    A record takes 1 ms to parse into a message, which is a quarter of a second a page; this takes a twentieth.
    """
    stored = reader.get(SEGMENT + segment_id)
    assert stored is not None, "what was committed is kept"
    values = json.loads(stored)
    holdings = {(holding["index"], holding["ticket_id"], holding["miner"]) for holding in values["holdings"]}
    return values["spec"]["roots"], holdings


def answer(home: Home, request: InventoryRequest, states: Sequence[State], now: int) -> InventoryAnswer:
    """Return the answer to an inventory, with a signed release for every ticket that ended."""
    told = (_told(home, request.miner, owed, state, now) for owed, state in zip(request.tickets, states, strict=True))
    return InventoryAnswer(states=tuple(told))


def _told(home: Home, miner: PublicKey, owed: OwedTicket, state: State, now: int) -> TicketState:
    if state == "live":
        return _LIVE
    if state == "unknown":
        return _UNKNOWN
    release = Release(
        validator=home.hotkey,
        miner=miner,
        ticket_id=owed.ticket_id,
        segment_id=owed.segment_id,
        index=owed.index,
        root=owed.root,
        reason=state.reason,
        seq=state.seq,
        drop=state.drop,
        receipt=state.receipt,
        time=now,
    )
    return TicketState(state="released", release=release.signed(home.identity, home.network))
