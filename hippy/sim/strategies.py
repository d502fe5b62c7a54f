"""The table of strategies: who cheats how, with how many identities.

Example::

    STRATEGIES["drop-1%"].make(0)      # the strategy of the first identity
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from hippy.errors import UsageError
from hippy.proofs.verify import Verdict
from hippy.sim.strategies_absent import Absent, DarkExit, Flapper, Silent
from hippy.sim.strategies_missing import (
    CopySharer,
    Corrupter,
    Dropper,
    ExitScammer,
    Hoarder,
    Regenerator,
    SelfReporter,
)
from hippy.sim.strategies_serving import AuditsOnly, Late, Slow
from hippy.sim.strategy import Honest, Strategy
from hippy.sim.wash import Wash

HONEST: Final = "honest"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator's business: how each of its identities behaves, and how many it splits its disk and pipe into.

    ``own_keys`` gives every identity a coldkey and an address group of its own; a ``wash`` account stores for it.
    """

    about: str
    make: Callable[[int], Strategy]
    identities: int = 1
    own_keys: bool = False
    wash: Wash | None = None


def _same(make: Callable[[], Strategy]) -> Callable[[int], Strategy]:
    return lambda _number: make()


def _split(identities: int, *, own_keys: bool) -> Operation:
    keys = "own coldkeys and /24s" if own_keys else "one coldkey and /24"
    return Operation(f"one disk and pipe behind {identities} identities, {keys}", _same(Honest), identities, own_keys)


STRATEGIES: Final[dict[str, Operation]] = {
    HONEST: Operation("keep everything, show everything, serve everything", _same(Honest)),
    "drop-0.1%": Operation("delete 0.1 % of the pieces", _same(partial(Dropper, 0.001))),
    "drop-1%": Operation("delete 1 % of the pieces", _same(partial(Dropper, 0.01))),
    "drop-5%": Operation("delete 5 % of the pieces", _same(partial(Dropper, 0.05))),
    "drop-30%": Operation("delete 30 % of the pieces", _same(partial(Dropper, 0.3))),
    "corrupt-bits": Operation("a flipped bit in one leaf of a thousand", _same(partial(Corrupter, 1_000))),
    "hashes-only": Operation("keep leaf hashes, no leaves", _same(partial(Dropper, 1.0, Verdict.WRONG))),
    "regenerate": Operation("keep nothing, rebuild sealed leaves from stripe-mates", _same(Regenerator)),
    "share-copy": Operation("four identities show the pieces of one", CopySharer, identities=4),
    "audits-only": Operation("answer audits, refuse reads", _same(AuditsOnly)),
    "slow": Operation("serve at 5 Mbit/s", _same(partial(Slow, 5_000_000))),
    "late-start": Operation("sit on the first byte of a piece for 10 s", _same(partial(Late, 10.0))),
    "flap": Operation("away for 5 minutes of every hour", _same(Flapper)),
    "silent": Operation("lack 0.3 %, say nothing when it would fail", _same(partial(Silent, 0.003))),
    "offline": Operation("lack 0.3 %, unplug when it would fail", _same(partial(Absent, 0.003))),
    "replay": Operation("lack 5 %, send an old answer when it would fail", _same(partial(Silent, 0.05))),
    "false-path": Operation("lack 5 %, make up leaf and path", _same(partial(Dropper, 0.05, Verdict.WRONG))),
    "split-1": _split(1, own_keys=False),
    "split-4": _split(4, own_keys=False),
    "split-16": _split(16, own_keys=False),
    "split-1-keys": _split(1, own_keys=True),
    "split-4-keys": _split(4, own_keys=True),
    "split-16-keys": _split(16, own_keys=True),
    "exit-scam": Operation("honest for half of the time, then delete everything", _same(ExitScammer)),
    "dark-exit": Operation("the same, and unplug for a moment whenever a batch is asked", _same(DarkExit)),
    "report-1%": Operation("lose 1 %, report it before the audit asks", _same(partial(SelfReporter, 0.01))),
    "claim-released": Operation("lack 5 %, say it was released", _same(partial(Dropper, 0.05, Verdict.RELEASED))),
    "hoard-released": Operation("keep the tenth that accounts dropped, to be paid", _same(partial(Hoarder, 0.1))),
    "wash-zeros": Operation("its account stores zeros, by chance with it too", _same(Honest), wash=Wash(redraws=1)),
    "wash-grind": Operation(
        "4 coldkeys; the account gives up allocations that favour others",
        _same(Honest),
        identities=4,
        own_keys=True,
        wash=Wash(redraws=24),
    ),
    "wash-steer": Operation(
        "4 coldkeys; the account moves pieces from others, 3 an index, n/4 a segment",
        _same(Honest),
        identities=4,
        own_keys=True,
        wash=Wash(redraws=1, steers=True),
    ),
}
"""Name → what it does."""


def chosen(names: Sequence[str]) -> dict[str, Operation]:
    """Return these strategies of the table, all where none is named, without honesty, which is always there.

    Raises UsageError for an unknown name.
    """
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown:
        raise UsageError(f"there is no strategy {unknown[0]!r}", hint=f"one of: {', '.join(STRATEGIES)}")
    wanted = names or tuple(STRATEGIES)
    return {name: operation for name, operation in STRATEGIES.items() if name in wanted and name != HONEST}
