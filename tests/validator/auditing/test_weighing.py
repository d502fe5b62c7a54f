"""What became of a sheet's weights at the latest try, for whoever asks."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from hippy.chain.protocol import Chain, Metagraph
from hippy.errors import AuthError, TemporaryError
from hippy.testing.clock import VirtualClock
from hippy.validator.auditing.weighing import TRIES_PER_EPOCH, Weigher, WeightsTry
from hippy.wire.status import WeightsOutcome
from tests.validator.page.world import EPOCH, metagraph, score, sheet
from tests.validator.world import HOME, NOW

EPOCH_SECONDS = 4_320.0
OF = EPOCH - 1


class Taking:
    """What a weigher needs of a chain: it takes weights, or raises ``errors``, one after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def metagraph(self) -> Metagraph:
        return metagraph()

    async def set_weights(self, _: object) -> None:
        if self.errors:
            raise self.errors.pop(0)


def weigher(chain: Taking, clock: VirtualClock) -> Weigher:
    return Weigher(cast(Chain, chain), HOME, clock, epoch_seconds=EPOCH_SECONDS)


@pytest.mark.parametrize(
    ("errors", "paid_bytes", "told"),
    [
        ([], 1_000, ("accepted", 2)),
        ([AuthError("no permit")], 1_000, ("refused", 0)),
        ([RuntimeError("what nobody thought of")], 1_000, ("refused", 0)),
        ([], 0, ("nobody_earned", 0)),
    ],
)
async def test_the_latest_try_is_told(
    errors: list[Exception], paid_bytes: int, told: tuple[WeightsOutcome, int]
) -> None:
    weighing = weigher(Taking(*errors), VirtualClock(float(NOW)))
    assert weighing.latest is None
    await weighing.set(sheet(*(score(number, paid_bytes=paid_bytes) for number in (1, 2))), lambda: True)
    assert weighing.latest == WeightsTry(OF, NOW, *told)


async def test_a_try_that_is_put_off_is_told_until_the_next() -> None:
    clock = VirtualClock(float(NOW))
    weighing = weigher(Taking(TemporaryError("not now")), clock)
    setting = asyncio.create_task(weighing.set(sheet(score(1)), lambda: True))
    await clock.advance(0)
    assert weighing.latest == WeightsTry(OF, NOW, "delayed")
    pause_seconds = int(EPOCH_SECONDS / TRIES_PER_EPOCH)
    await clock.advance(pause_seconds)
    await setting
    assert weighing.latest == WeightsTry(OF, NOW + pause_seconds, "accepted", 1)
