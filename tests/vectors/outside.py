"""Finds the outside test vectors, which the project cites but keeps no copy of.

They lie in the folder that HIPPY_VECTORS names, by default ``shared/vectors`` beside the checkout. A test that
needs one it cannot find is skipped and says so. Sources:

- ``zfec.vec``: shares made by zfec, from randombit/botan ``src/tests/data/zfec.vec``.
- ``rfc6962-inclusion.json``: from transparency-dev/merkle ``testdata/inclusion``.
- ``blake3.json``: from BLAKE3-team/BLAKE3 ``test_vectors/test_vectors.json``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "vectors"


def read_vectors(name: str) -> str:
    """Return the text of an outside vector file, or skip the test that asks for it."""
    path = Path(os.environ.get("HIPPY_VECTORS", _DEFAULT)) / name
    if not path.is_file():
        pytest.skip(f"outside vectors {name} are not here; set HIPPY_VECTORS to their folder")
    return path.read_text()
