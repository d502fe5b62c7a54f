"""The tree of a piece and its paths as RFC 9162 §2.1 defines them: recursive, slow, for reading (PROTOCOL §2).

Knows BLAKE3 and nothing of hippy, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Sequence

from blake3 import blake3

LEAF_BYTES = 16_384


def domain_key(context: str) -> bytes:
    """dk(ctx) of PROTOCOL §0."""
    return blake3(b"", derive_key_context="hippy 2026-11-21 v1 " + context).digest()


def keyed_hash(key: bytes, message: bytes) -> bytes:
    """H(key; x) of PROTOCOL §0."""
    return blake3(message, key=key).digest()


def little_endian(value: int, bits: int) -> bytes:
    return value.to_bytes(bits // 8, "little")


def leaf_hash(leaf: bytes) -> bytes:
    return keyed_hash(domain_key("piece-leaf"), leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    return keyed_hash(domain_key("piece-node"), left + right)


def leaves_of(piece: bytes) -> list[bytes]:
    return [piece[at : at + LEAF_BYTES] for at in range(0, len(piece), LEAF_BYTES)]


def split_of(count: int) -> int:
    """The largest power of two below ``count``."""
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def top_of(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1 over leaf hashes."""
    if len(hashes) == 1:
        return hashes[0]
    split = split_of(len(hashes))
    return node_hash(top_of(hashes[:split]), top_of(hashes[split:]))


def root_over(top: bytes, piece_length: int) -> bytes:
    return keyed_hash(domain_key("piece-root"), top + little_endian(piece_length, 64) + little_endian(LEAF_BYTES, 32))


def root_of(piece: bytes) -> bytes:
    return root_over(top_of([leaf_hash(leaf) for leaf in leaves_of(piece)]), len(piece))


def path_of(place: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1 over leaf hashes."""
    if len(hashes) == 1:
        return []
    split = split_of(len(hashes))
    if place < split:
        return [*path_of(place, hashes[:split]), top_of(hashes[split:])]
    return [*path_of(place - split, hashes[split:]), top_of(hashes[:split])]


def implied_top(digest: bytes, place: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The top that a leaf hash and its path lead to; None where the path has another number of siblings."""
    if count == 1:
        return digest if not path else None
    if not path:
        return None
    split = split_of(count)
    if place < split:
        left = implied_top(digest, place, split, path[:-1])
        return None if left is None else node_hash(left, path[-1])
    right = implied_top(digest, place - split, count - split, path[:-1])
    return None if right is None else node_hash(path[-1], right)


def is_leaf(root: bytes, piece_length: int, place: int, length: int, digest: bytes, path: Sequence[bytes]) -> bool:
    """Whether ``length`` bytes with this leaf hash are leaf ``place`` of the piece."""
    count = (piece_length + LEAF_BYTES - 1) // LEAF_BYTES
    expected = LEAF_BYTES if place < count - 1 else piece_length - (count - 1) * LEAF_BYTES
    top = implied_top(digest, place, count, path)
    return length == expected and top is not None and root_over(top, piece_length) == root
