"""An inventory numbers every leaf of a set of pieces, whatever order they come in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import IntegrityError, ProtocolError, UsageError
from hippy.ids import Root
from hippy.proofs.inventory import Inventory, PieceLeaf
from tests.proofs.audit_world import EDGES, named
from tests.reference.audit import all_leaves

quick = settings(derandomize=True, deadline=None, max_examples=60)

roots = st.binary(min_size=32, max_size=32).map(Root)
lengths = st.sampled_from(EDGES) | st.integers(1, 300_000)
LOW, HIGH = Root(bytes(32)), Root(b"\xff" * 32)


@quick
@given(st.dictionaries(roots, lengths, max_size=12), st.randoms(use_true_random=False))
def test_leaves_are_numbered_as_the_definition_says(pieces: dict[Root, int], chance: object) -> None:
    pairs = list(pieces.items())
    chance.shuffle(pairs)  # type: ignore[attr-defined]
    inventory = Inventory(pairs)
    expected = all_leaves(pieces)
    assert inventory.total_leaves == len(expected)
    assert [inventory.locate(number) for number in range(len(expected))] == expected
    assert dict(inventory) == pieces
    assert list(inventory) == sorted(pieces)


def test_a_piece_owed_twice_counts_once() -> None:
    inventory = Inventory([(HIGH, 20_000), (LOW, 1), (HIGH, 20_000)])
    assert len(inventory) == 2
    assert inventory.total_leaves == 3
    assert inventory.locate(2) == PieceLeaf(HIGH, 1)


def test_one_root_with_two_lengths_is_a_lie() -> None:
    with pytest.raises(IntegrityError, match="20000 and with 20001"):
        Inventory([(HIGH, 20_000), (LOW, 1), (HIGH, 20_001)])


def test_a_piece_without_bytes_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Inventory([(LOW, 0)])


def test_numbers_outside_are_refused() -> None:
    inventory = Inventory([(LOW, 20_000), (HIGH, 1)])
    assert inventory.locate(2) == PieceLeaf(HIGH, 0)
    for number in (-1, 3):
        with pytest.raises(UsageError):
            inventory.locate(number)


def test_an_empty_inventory_has_no_leaves() -> None:
    inventory = Inventory([])
    assert inventory.total_leaves == 0
    assert dict(inventory) == {}
    with pytest.raises(UsageError):
        inventory.locate(0)


@pytest.mark.parametrize("root", [LOW, HIGH, Root(named("another"))])
def test_a_root_that_is_not_owed_has_no_length(root: Root) -> None:
    inventory = Inventory((Root(named(f"root {i}")), 1) for i in range(9))
    assert root not in inventory
    with pytest.raises(KeyError):
        inventory[root]


def test_many_pieces_are_found_at_their_ends() -> None:
    pieces = {Root(named(f"root {i}")): 1 + 9_000 * (i % 7) for i in range(3_000)}
    inventory = Inventory(pieces.items())
    start = 0
    for root in inventory:
        leaves = -(-pieces[root] // 16_384)
        assert inventory.locate(start) == (root, 0)
        assert inventory.locate(start + leaves - 1) == (root, leaves - 1)
        assert inventory[root] == pieces[root]
        start += leaves
    assert start == inventory.total_leaves
