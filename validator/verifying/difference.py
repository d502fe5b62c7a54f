"""What is raised where a validator's published record is not what everybody computes (PROTOCOL §6, Verifying).

Example::

    raise Difference("beacon round 910 was expected, 911 was found", epoch=7, miner=miner, batch=2)
"""

from __future__ import annotations

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
        places = (
            None if self.epoch is None else f"epoch {self.epoch}",
            None if self.miner is None else f"miner {ss58_encode(self.miner)}",
            None if self.batch is None else f"batch {self.batch}",
        )
        where = ", ".join(place for place in places if place is not None)
        return f"{where}: {self.what}" if where else self.what
