"""Why pieces are sealed: without it a miner can answer from the pieces of others (PROTOCOL §8, 2)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hippy.erasure.codec import Codec
from hippy.hashing import u32
from hippy.ids import Root
from hippy.proofs.challenge import draw_request
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import AuditRequest
from hippy.proofs.tree import LEAF_BYTES
from hippy.proofs.verify import Verdict
from hippy.seal import xor_seal
from tests.proofs.audit_world import SCOPE, Piece, answer, named, verified

K, N = 4, 8
PIECE_BYTES = 2 * LEAF_BYTES + 77
BATCHES = 50
ENTRIES = 6


def segment(number: int, *, sealed: bool) -> list[bytes]:
    """The pieces of a segment as its miners hold them."""
    data = [named(f"segment {number} piece {i}", PIECE_BYTES) for i in range(K)]
    parity = [bytearray(PIECE_BYTES) for _ in range(N - K)]
    Codec(K, N).encode(data, [memoryview(piece) for piece in parity])
    pieces = [bytearray(piece) for piece in (*data, *parity)]
    if sealed:
        for index, piece in enumerate(pieces):
            xor_seal(named(f"seal key {number}"), index, piece)
    return [bytes(piece) for piece in pieces]


def regenerated(pieces: Sequence[bytes], index: int) -> bytes:
    """What a miner without data makes of the pieces of k honest others."""
    others = {(index + 1 + i) % N: pieces[(index + 1 + i) % N] for i in range(K)}
    piece = bytearray(PIECE_BYTES)
    Codec(K, N).reconstruct(others, {index: memoryview(piece)})
    return bytes(piece)


def challenge(batch: int, root: Root) -> AuditRequest:
    """A batch of an epoch of its own."""
    return draw_request(
        named(f"secret {batch // 4}"),
        named(f"beacon {batch}"),
        validator=SCOPE.validator,
        miner=SCOPE.miner,
        epoch=batch // 4,
        batch=batch % 4,
        beacon_round=1_000 + batch,
        attempt=0,
        inventory=Inventory([(root, PIECE_BYTES)]),
        count=ENTRIES,
    )


def passes(batch: int, *, sealed: bool, holds: bool = False) -> bool:
    """Whether a miner that holds its piece, or nothing, passes a batch; data and parity pieces take turns."""
    pieces, index = segment(batch, sealed=sealed), batch % N
    promised = Piece(pieces[index])
    shown = promised if holds else Piece(regenerated(pieces, index))
    request = challenge(batch, promised.root)
    body = answer(request, [shown.show(leaf) for _, leaf in request.entries])
    found = verified(request, {promised.root: PIECE_BYTES}, body).verdicts
    assert len(found) == ENTRIES
    return set(found) == {Verdict.OK}


def test_batches_and_epochs_differ() -> None:
    root = Root(named("root"))
    assert len({challenge(batch, root).token for batch in range(BATCHES)}) == BATCHES
    assert len({u32(challenge(batch, root).epoch) for batch in range(BATCHES)}) == 13


@pytest.mark.parametrize("sealed", [False, True])
def test_a_miner_that_holds_its_piece_passes_every_batch(sealed: bool) -> None:
    assert sum(passes(batch, sealed=sealed, holds=True) for batch in range(BATCHES)) == BATCHES


def test_a_miner_without_data_passes_every_batch_when_pieces_are_not_sealed() -> None:
    """The control: k honest miners of the same segment are enough, so an audit would prove nothing."""
    assert sum(passes(batch, sealed=False) for batch in range(BATCHES)) == BATCHES


def test_a_miner_without_data_passes_no_batch_when_pieces_are_sealed() -> None:
    assert sum(passes(batch, sealed=True) for batch in range(BATCHES)) == 0


def test_not_one_leaf_of_a_sealed_piece_can_be_regenerated() -> None:
    for number in range(N):
        pieces = segment(number, sealed=True)
        held, made = Piece(pieces[number]), Piece(regenerated(pieces, number))
        assert not {*held.hashes} & {*made.hashes}
