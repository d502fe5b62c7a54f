from __future__ import annotations

import asyncio

import pytest

from hippy.client.tasks import task_group
from hippy.errors import TemporaryError


async def fail(error: Exception) -> None:
    raise error


async def test_error_of_a_task_is_raised_as_it_is() -> None:
    async def work() -> None:
        async with task_group() as group:
            group.create_task(fail(TemporaryError("away")))
            group.create_task(asyncio.Event().wait())

    with pytest.raises(TemporaryError, match="away"):
        await work()


async def test_error_of_a_task_of_a_task_is_raised_as_it_is() -> None:
    async def nested() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(BrokenPipeError(32, "Broken pipe")))

    async def work() -> None:
        async with task_group() as group:
            group.create_task(nested())

    with pytest.raises(BrokenPipeError):
        await work()


async def test_error_between_the_tasks_is_raised_as_it_is() -> None:
    async def work() -> None:
        async with task_group() as group:
            group.create_task(asyncio.Event().wait())
            raise TemporaryError("here")

    with pytest.raises(TemporaryError, match="here"):
        await work()


async def test_cancellation_stays_one() -> None:
    async def work() -> None:
        async with task_group() as group:
            group.create_task(asyncio.Event().wait())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
