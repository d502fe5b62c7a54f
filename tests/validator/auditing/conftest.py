"""A validator with two honest miners, at the beginning of its first epoch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.validator.auditing.world import World, make_world, quick_grace


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    quick_grace(monkeypatch)
    async with make_world(tmp_path) as world:
        yield world
