"""One message of every type of hippy.wire.repair, with every optional field present."""

from __future__ import annotations

from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import NetworkId, PublicKey, Root, SegmentId
from hippy.wire.canonical import Message
from hippy.wire.repair import Drain, DrainAnswer, PieceMoved, RepairAnswer, RepairOrder, RepairSource, SegmentFlawed
from hippy.wire.segment import Holding
from hippy.wire.ticket import Receipt, Ticket

SOURCES = tuple(
    RepairSource(
        index=index,
        root=Root(bytes([index, 1]) * 16),
        miner=PublicKey(bytes([index + 1]) * 32),
        endpoint=Endpoint(f"127.0.{index}.1", 4000 + index),
    )
    for index in (1, 2, 5, 7)
)


def order(ticket: Ticket, signer: Identity, network: NetworkId) -> RepairOrder:
    """Return an order to make piece 0 of four others of eight."""
    return RepairOrder(ticket=ticket, k=4, n=8, sources=SOURCES, mask_root=Root(b"m" * 32)).signed(signer, network)


def drain(miner: Identity, time: int, network: NetworkId) -> Drain:
    """Return a miner's wish to leave."""
    validator = PublicKey(b"w" * 32)  # not VALIDATOR, who would be taken for the signer
    return Drain(miner=miner.public_key, validator=validator, action="start", time=time).signed(miner, network)


def repair_messages(order: RepairOrder, receipt: Receipt, holding: Holding, drain: Drain) -> list[Message]:
    """Return the messages; an answer with all of its fields is none that a miner sends."""
    return [
        order,
        SOURCES[0],
        RepairAnswer(receipt=receipt, failure="sources", sources=(1, 7)),
        drain,
        DrainAnswer(pieces=3, bytes=49_155),
        moved(holding),
        flawed(),
    ]


def moved(holding: Holding) -> PieceMoved:
    """Return the body of a moved record."""
    return PieceMoved(
        segment_id=SegmentId(b"s" * 32),
        root=Root(b"r" * 32),
        holding=holding,
        drained=PublicKey(b"w" * 32),
        placement_round=9,
        epoch=5,
        candidates_seq=2,
    )


def flawed() -> SegmentFlawed:
    """Return the body of a flawed record."""
    return SegmentFlawed(segment_id=SegmentId(b"s" * 32), index=3, sources=(0, 1, 2, 5))
