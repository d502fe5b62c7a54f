"""Sets the weights of a sheet on chain, again and again while the chain does not take them and it is the newest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import HippyError, TemporaryError
from hippy.validator.log import Home
from hippy.validator.weights import weights_of
from hippy.wire.score import ScoreSheet
from hippy.wire.status import WeightsOutcome

log = logging.getLogger("hippy.validator")

TRIES_PER_EPOCH: Final = 20


@dataclass(frozen=True, slots=True)
class WeightsTry:
    """What became of an epoch's weights at the latest try, in Unix seconds; ``miners`` are those that get any."""

    epoch: int
    time: int
    outcome: WeightsOutcome
    miners: int = 0


class Weigher:
    """Sets weights for one validator."""

    def __init__(self, chain: Chain, home: Home, clock: Clock, *, epoch_seconds: float) -> None:
        self._chain = chain
        self._home = home
        self._clock = clock
        self._pause_seconds = epoch_seconds / TRIES_PER_EPOCH
        self.epoch: int | None = None
        """The epoch whose weights the chain took last, since the start."""

        self.latest: WeightsTry | None = None
        """The latest try, since the start."""

    async def set(self, sheet: ScoreSheet, is_newest: Callable[[], bool]) -> None:
        """Set the weights of a sheet, unless nobody earned any; gives up when it is no longer the newest."""
        while is_newest():
            try:
                weights = weights_of(sheet.miners, await self._chain.metagraph(), self._home.hotkey)
                if weights:
                    await self._chain.set_weights(weights)
                    self.epoch = sheet.epoch
                    log.info("weights of epoch %d are set for %d miners", sheet.epoch, len(weights))
                self._note(sheet, "accepted" if weights else "nobody_earned", len(weights))
                return
            except TemporaryError as error:
                log.warning("weights of epoch %d are not set yet: %s", sheet.epoch, error)
                self._note(sheet, "delayed")
            except HippyError as error:
                log.error("weights of epoch %d cannot be set: %s", sheet.epoch, error)
                self._note(sheet, "refused")
                return
            except Exception:  # the top of a supervised task: the next epoch's weights are another try
                log.exception("unexpected error while setting weights of epoch %d", sheet.epoch)
                self._note(sheet, "refused")
                return
            await self._clock.sleep(self._pause_seconds)

    def _note(self, sheet: ScoreSheet, outcome: WeightsOutcome, miners: int = 0) -> None:
        self.latest = WeightsTry(sheet.epoch, int(self._clock.now()), outcome, miners)
