"""Orders to repair and their answers have their shapes, and the longest fit their limits."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.endpoint import Endpoint
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import ProtocolError, TooLargeError
from hippy.ids import PublicKey, Root
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.parts import encode_parts, parse_parts
from hippy.wire.repair import (
    ORDER_BYTES_MAX,
    REPAIR_ANSWER_BYTES_MAX,
    REPAIR_BYTES_MAX,
    RepairAnswer,
    RepairOrder,
    RepairSource,
)
from tests.wire.samples import NETWORK, ORDER, RECEIPT, VALIDATOR, ticket

SAME = RepairSource(
    index=ORDER.ticket.index, root=ORDER.ticket.root, miner=PublicKey(b"h" * 32), endpoint=Endpoint("127.0.0.1", 1)
)
COPY = ORDER.model_copy(update={"sources": (SAME,), "mask_root": None})


def altered(at: int, **changes: Any) -> tuple[RepairSource, ...]:
    """The order's sources, one of them changed."""
    sources = list(ORDER.sources)
    sources[at] = sources[at].model_copy(update=changes)
    return tuple(sources)


@pytest.mark.parametrize("order", [ORDER, COPY, COPY.model_copy(update={"k": 1})])
def test_a_repair_and_a_copy_have_their_shapes(order: RepairOrder) -> None:
    order.check_shape()
    assert order.is_copy == (order.mask_root is None)


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 9},
        {"k": 3},
        {"k": 5},
        {"n": 7},
        {"n": 3},
        {"ticket": ticket(8)},
        {"ticket": ticket(5)},
        {"sources": ORDER.sources[:3]},
        {"sources": (*ORDER.sources[:3], ORDER.sources[0])},
        {"sources": altered(0, index=8)},
        {"sources": altered(0, index=ORDER.sources[1].index)},
        {"sources": altered(0, root=ORDER.sources[1].root)},
        {"sources": altered(0, index=ORDER.ticket.index)},
    ],
    ids=str,
)
def test_a_repair_of_other_than_k_distinct_other_pieces_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        ORDER.model_copy(update=changes).check_shape()


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": (SAME, *ORDER.sources[:3])},
        {"sources": (SAME.model_copy(update={"index": 5}),)},
        {"sources": (SAME.model_copy(update={"root": Root(b"x" * 32)}),)},
        {"ticket": ticket(8), "sources": (SAME.model_copy(update={"index": 8, "root": ticket(8).root}),)},
        {"mask_root": Root(b"m" * 32)},
    ],
    ids=["several", "another index", "another root", "an index beyond n", "with a mask"],
)
def test_a_copy_of_anything_but_the_piece_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        COPY.model_copy(update=changes).check_shape()


def test_a_mask_of_the_pieces_length_follows_a_repair_and_nothing_a_copy() -> None:
    mask = b"m" * ORDER.ticket.piece_length
    assert parse_parts(RepairOrder, encode_parts(ORDER, [mask])) == (ORDER, [mask])
    assert parse_parts(RepairOrder, encode_parts(COPY, [])) == (COPY, [])
    for order, rest in ((ORDER, mask[:-1]), (ORDER, mask + b"x"), (ORDER, b""), (COPY, b"x")):
        with pytest.raises(ProtocolError, match="announced lengths"):
            parse_parts(RepairOrder, _framed(order) + rest)


def _framed(order: RepairOrder) -> bytes:
    raw = order.encode()
    return len(raw).to_bytes(4, "little") + raw


def test_what_is_read_is_one_piece_of_each_source() -> None:
    assert ORDER.read_bytes == 4 * ORDER.ticket.piece_length
    assert COPY.read_bytes == COPY.ticket.piece_length


@pytest.mark.parametrize(
    "answer",
    [
        RepairAnswer(receipt=RECEIPT),
        RepairAnswer(failure="mismatch"),
        RepairAnswer(failure="sources", sources=(3, 254)),
    ],
)
def test_an_answer_is_a_receipt_or_a_failure(answer: RepairAnswer) -> None:
    answer.check_shape()
    assert RepairAnswer.parse(answer.encode(), limit=REPAIR_ANSWER_BYTES_MAX) == answer


@pytest.mark.parametrize(
    "answer",
    [
        RepairAnswer(),
        RepairAnswer(sources=(3,)),
        RepairAnswer(receipt=RECEIPT, failure="mismatch"),
        RepairAnswer(receipt=RECEIPT, sources=(3,)),
        RepairAnswer(failure="sources"),
        RepairAnswer(failure="mismatch", sources=(3,)),
    ],
)
def test_an_answer_that_says_both_or_neither_is_refused(answer: RepairAnswer) -> None:
    with pytest.raises(ProtocolError):
        answer.check_shape()


def test_the_longest_order_and_its_answer_fit_their_limits() -> None:
    endpoint = Endpoint("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65_535)
    longest = ticket(254, serial=INTEGER_MAX, piece_length=PIECE_LENGTH_MAX, endpoint=endpoint, upload_by=INTEGER_MAX)
    sources = tuple(
        RepairSource(index=index, root=Root(bytes([index + 1]) * 32), miner=PublicKey(b"\xff" * 32), endpoint=endpoint)
        for index in range(254)
    )
    order = RepairOrder(ticket=longest, k=254, n=255, sources=sources, mask_root=Root(b"\xff" * 32))
    raw = order.signed(VALIDATOR, NETWORK).encode()
    assert len(raw) <= ORDER_BYTES_MAX
    assert RepairOrder.parse(raw, limit=ORDER_BYTES_MAX).sources == sources
    assert 4 + ORDER_BYTES_MAX + sum(order.blob_lengths()) <= REPAIR_BYTES_MAX
    answer = RepairAnswer(failure="sources", sources=tuple(range(255)))
    assert len(answer.encode()) <= REPAIR_ANSWER_BYTES_MAX
    with pytest.raises(TooLargeError):
        RepairOrder.parse(raw + b" " * ORDER_BYTES_MAX, limit=ORDER_BYTES_MAX)
