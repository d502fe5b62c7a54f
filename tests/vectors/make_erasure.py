"""Writes erasure.json: codes and repairs by the slow reference, for implementations in any language.

Run ``python -m tests.vectors.make_erasure`` after the format has changed, which takes a new protocol version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from tests.reference import reed_solomon

CODES: Final = ((1, 1, 4), (1, 4, 4), (2, 3, 5), (4, 8, 7), (10, 24, 3), (16, 24, 3), (10, 30, 2), (3, 255, 1))
"""k, n, bytes of a piece."""

REPAIRS: Final = (
    ("parity for data", 4, 8, (4, 5, 6, 7), 0),
    ("data for parity", 4, 8, (0, 1, 2, 3), 7),
    ("sources in another order", 4, 8, (6, 1, 3, 2), 0),
    ("the standard profile", 10, 24, (0, 2, 4, 6, 8, 10, 12, 14, 16, 18), 5),
)
REPAIR_BYTES: Final = 9


def filler(text: str, length: int) -> bytes:
    return blake3(f"hippy erasure vectors: {text}".encode()).digest(length)


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def code(k: int, n: int, length: int) -> dict[str, Any]:
    data = [filler(f"{k}/{n} {index}", length) for index in range(k)]
    return {"k": k, "n": n, "pieces": [piece.hex() for piece in reed_solomon.pieces(data, n)]}


def repair(name: str, k: int, n: int, sources: tuple[int, ...], index: int) -> dict[str, Any]:
    data = [filler(f"{name} {each}", REPAIR_BYTES) for each in range(k)]
    streams = [filler(f"{name} stream {each}", REPAIR_BYTES) for each in range(n)]
    sealed = [xor(*pair) for pair in zip(reed_solomon.pieces(data, n), streams, strict=True)]
    mask = xor(reed_solomon.piece_from({source: streams[source] for source in sources}, index), streams[index])
    return {
        "name": name,
        "k": k,
        "n": n,
        "sources": sources,
        "index": index,
        "coefficients": bytes(reed_solomon.coefficient(sources, source, index) for source in sources).hex(),
        "source_streams": [streams[source].hex() for source in sources],
        "source_pieces": [sealed[source].hex() for source in sources],
        "stream": streams[index].hex(),
        "mask": mask.hex(),
        "piece": sealed[index].hex(),
    }


def main() -> None:
    vectors = {"codes": [code(*each) for each in CODES], "repairs": [repair(*each) for each in REPAIRS]}
    Path(__file__).with_name("erasure.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
