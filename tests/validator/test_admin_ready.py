"""A validator is ready when its registry takes writes, not when it can merely be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from hippy.errors import NoSpaceError
from hippy.kv import Database, Reader, Transaction
from hippy.testing.clock import VirtualClock
from hippy.validator.admin import Administration
from hippy.validator.admin_routes import AdminRoutes
from tests.validator.world import HOME, NOW

T = TypeVar("T")


class Full:
    """A database that can be read and takes no writes."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.lease, self.renew, self.unlease = inner.lease, inner.renew, inner.unlease

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        raise NoSpaceError("the disk is full")

    async def read(self, work: Callable[[Reader], T]) -> T:
        return await self._inner.read(work)


def routes(database: Database) -> AdminRoutes:
    return AdminRoutes(Administration(HOME, database, VirtualClock(float(NOW))))


async def test_a_registry_that_takes_no_writes_is_not_ready(database: Database) -> None:
    with pytest.raises(NoSpaceError):
        await routes(Full(database)).check()


async def test_looking_changes_no_figure(database: Database) -> None:
    before = [sample.value for sample in await routes(database).samples()]
    await routes(database).check()
    assert [sample.value for sample in await routes(database).samples()] == before
