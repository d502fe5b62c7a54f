"""A holding's stored form, and sums over holdings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey, Root, SegmentId
from hippy.validator.held import PAY_CLASSES, Held, HeldPiece, distinct, tally

ALICE, BOB = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
LOW, HIGH = Root(bytes(32)), Root(b"\xff" * 32)

quick = settings(derandomize=True, deadline=None, max_examples=60)
seqs = st.integers(0, 2**64 - 1)
held = st.builds(
    Held, seqs, seqs, st.integers(1, 2**22), st.sampled_from(PAY_CLASSES), st.binary(min_size=32, max_size=32)
)


def piece(root: Root, length: int, *, is_paid: bool, account: PublicKey = ALICE) -> HeldPiece:
    return HeldPiece(root, length, is_paid, account, SegmentId(bytes(32)), 0)


@quick
@given(held)
def test_a_holding_survives_being_stored(value: Held) -> None:
    assert Held.parse(value.encode()) == value


def test_the_stored_bytes_are_those_of_the_table() -> None:
    value = Held(1, 2, 3, "canary", ALICE).encode()
    assert value == b"\1" + bytes(7) + b"\2" + bytes(7) + b"\3\0\0\0" + b"\2" + ALICE


@pytest.mark.parametrize(("until", "expected"), [(0, [3, 4, 5, 6]), (5, [3, 4]), (4, [3]), (3, [])])
def test_a_holding_is_held_from_its_first_record_until_the_one_that_ended_it(until: int, expected: list[int]) -> None:
    value = Held(3, until, 1, "paid", ALICE)
    assert [seq for seq in range(1, 7) if value.is_held_at(seq)] == expected


def test_the_greatest_length_of_a_root_counts() -> None:
    assert list(distinct([(LOW, 1), (LOW, 3), (LOW, 2), (HIGH, 4)])) == [(LOW, 3), (HIGH, 4)]
    assert list(distinct([])) == []


def test_a_root_counts_once_and_once_for_each_account() -> None:
    pieces = [
        piece(LOW, 10, is_paid=False),
        piece(LOW, 10, is_paid=True, account=BOB),
        piece(LOW, 12, is_paid=False, account=BOB),
        piece(HIGH, 5, is_paid=False),
    ]
    found = tally(pieces)
    assert (found.paid_bytes, found.unpaid_bytes, found.by_account) == (12, 5, {ALICE: 17, BOB: 12})
