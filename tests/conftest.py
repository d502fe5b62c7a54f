"""What holds for all tests: how their assertions explain themselves, and the order they run in."""

from __future__ import annotations

import gc
from typing import Final

import pytest

pytest.register_assert_rewrite("hippy.testing")  # contract suites live there

LONGEST_FIRST: Final = (
    "e2e/test_failures",
    "e2e/test_audits",
    "e2e/test_private",
    "e2e/test_crash",
    "e2e/test_demo",
    "e2e/",
    "histories/",
    "sim/",
    "validator/",
)
"""Files are dealt to processes in this order (--no-loadscope-reorder): none of minutes is left to one of them alone."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; the rest keep their order."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> int:
    return next(
        (at for at, start in enumerate(LONGEST_FIRST) if nodeid.startswith(f"tests/{start}")), len(LONGEST_FIRST)
    )


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out what was imported: to look through it again and again took a fifth."""
    gc.collect()
    gc.freeze()
