"""Nodes that cheat, as processes: ``python -m tests.e2e.misbehaving KIND miner|validator run …``.

Each kind changes one thing of an honest node and then runs the usual command line, so that everything else is real.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Literal
from unittest.mock import patch

from hippy.cli.main import main
from hippy.errors import NotFoundError
from hippy.hashing import digest
from hippy.miner.reports import LossReporter
from hippy.miner.server import Pieces
from hippy.proofs.challenge import seed_commit
from hippy.proofs.transcript_entry import Outcome
from hippy.proofs.verify import Verdict
from hippy.validator.auditing import auditor, closing, outcomes

Kind = Literal["refuses-reads", "keeps-quiet", "changes-its-seed", "skips-batches", "invents-verdicts"]


def refuse_reads() -> None:
    """A miner that answers audits and serves nobody."""

    async def refuse(*_: Any) -> None:
        raise NotFoundError("no such piece")

    patch.object(Pieces, "get", refuse).start()


def keep_quiet() -> None:
    """A miner that reports no loss."""

    async def wait(*_: Any) -> None:
        await asyncio.Event().wait()

    patch.object(LossReporter, "run", wait).start()


def change_the_seed() -> None:
    """A validator that reveals other secrets than those it committed to."""
    patch.object(closing, "seed_commit", lambda secret: seed_commit(digest(secret))).start()


def skip_batches() -> None:
    """A validator that spares one miner its last batch."""
    honest = closing.Closing.planned

    def planned(self: closing.Closing, *args: Any) -> Any:
        batches = honest(self, *args)
        friend = min(scheduled.key.miner for scheduled in batches) if batches else None
        return [each for each in batches if each.key.miner != friend or each.key.number != 3]

    patch.object(closing.Closing, "planned", planned).start()


def invent_verdicts() -> None:
    """A validator that lets every answer pass."""
    honest = outcomes.told

    def told(question: Any, scope: Any, outcome: Any, verified: Any, voids: Any) -> Any:
        if verified is not None:
            verified = replace(verified, verdicts=(Verdict.OK,) * len(verified.verdicts))
            outcome = Outcome.PASS
        return honest(question, scope, outcome, verified, voids)

    patch.object(auditor, "told", told).start()


KINDS: Final[dict[str, Callable[[], None]]] = {
    "refuses-reads": refuse_reads,
    "keeps-quiet": keep_quiet,
    "changes-its-seed": change_the_seed,
    "skips-batches": skip_batches,
    "invents-verdicts": invent_verdicts,
}

if __name__ == "__main__":
    KINDS[sys.argv.pop(1)]()
    main()
