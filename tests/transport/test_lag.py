"""A loop that is blocked is seen to be late."""

from __future__ import annotations

import asyncio
import time

import pytest

from hippy.transport import lag
from hippy.transport.lag import LoopLag


async def test_a_blocked_loop_shows_as_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "PAUSE_SECONDS", 0.001)
    measured = LoopLag()
    task = asyncio.create_task(measured.run())
    await asyncio.sleep(0.005)
    time.sleep(0.05)  # noqa: ASYNC251 - the fault that is to be seen
    await asyncio.sleep(0.005)
    task.cancel()
    assert measured.worst_seconds > 0.03
    assert {sample.metric.name for sample in measured.samples()} == {metric.name for metric in lag.METRICS}
