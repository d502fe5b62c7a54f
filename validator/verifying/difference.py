"""What is said where a validator's published record is not what everybody computes (PROTOCOL §6, Verifying).

A :class:`Difference` is raised: the validator is at fault. A :class:`Remark` is told: nothing that was computed is
wrong, but whoever relies on this validator should know.

Example::

    raise Difference("beacon round 910 was expected, 911 was found", epoch=7, miner=miner, batch=2)
"""

from __future__ import annotations

from dataclasses import dataclass

from hippy.identity import ss58_encode
from hippy.ids import PublicKey


class Difference(Exception):  # noqa: N818 - an answer, not an error: the validator is at fault, nothing failed here
    """The first thing that is not what it should be, and whom and what it concerns.

    ``what`` says what was expected and what was found; ``miner`` is a hotkey, ``batch`` a batch of that miner.
    """

    def __init__(
        self, what: str, *, epoch: int | None = None, miner: PublicKey | None = None, batch: int | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.epoch = epoch
        self.miner = miner
        self.batch = batch

    def __str__(self) -> str:
        return _placed(self.what, self.epoch, self.miner, self.batch)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know of a record, though nothing that was computed is wrong by it."""

    what: str
    epoch: int | None = None
    miner: PublicKey | None = None

    def __str__(self) -> str:
        return _placed(self.what, self.epoch, self.miner, None)


def before_the_range(difference: Difference) -> Remark:
    """Return what is said of a difference in an epoch before those that were to be checked."""
    return Remark(f"before the epochs checked: {difference.what}", epoch=difference.epoch, miner=difference.miner)


def _placed(what: str, epoch: int | None, miner: PublicKey | None, batch: int | None) -> str:
    places = (
        None if epoch is None else f"epoch {epoch}",
        None if miner is None else f"miner {ss58_encode(miner)}",
        None if batch is None else f"batch {batch}",
    )
    where = ", ".join(place for place in places if place is not None)
    return f"{where}: {what}" if where else what
