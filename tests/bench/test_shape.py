"""What can be measured, and how it is called."""

from __future__ import annotations

import pytest

from hippy.bench.shape import Shape, size_title
from hippy.errors import UsageError


@pytest.mark.parametrize(
    ("count", "title"),
    [(7, "7 bytes"), (1000, "1,000 bytes"), (1024, "1 KiB"), (65_536, "64 KiB"), (4 * 1024 * 1024, "4 MiB")],
)
def test_sizes_are_told_in_the_unit_that_leaves_nothing_over(count: int, title: str) -> None:
    assert size_title(count) == title


def test_a_shape_says_what_it_is() -> None:
    shape = Shape(10, 24, 65_536)
    assert (shape.title, shape.user_bytes) == ("10/24 of 64 KiB", 655_360)
    assert shape.facts == {"k": 10, "n": 24, "piece_bytes": 65_536}


@pytest.mark.parametrize(
    ("k", "n", "piece_bytes"), [(4, 4, 10), (0, 4, 10), (4, 256, 10), (4, 8, 0), (4, 8, 2**22 + 1)]
)
def test_shapes_that_no_segment_has_are_refused(k: int, n: int, piece_bytes: int) -> None:
    with pytest.raises(UsageError):
        Shape(k, n, piece_bytes)
