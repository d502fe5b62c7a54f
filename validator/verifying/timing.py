"""Whether headers were made when their epochs began, as far as the chain shows (PROTOCOL §5.2). Pure.

A header names its time and the newest beacon round then. Whoever makes it late, or says another round, knows the beacon
before it fixes what is drawn from it. Nobody else can see when a header was made; but epochs, rounds and time pass
together, so from where the chain is now follows where it was, to an epoch or so.

What is granted: a header may be made late in its epoch; blocks drift by DRIFT; a process may stall, or a node be
behind, for SLACK_SECONDS or SLACK_ROUNDS. A chain that stood still for longer than an epoch is a difference here.

Example::

    remarks = check_timing(chain.oldest_first, Moment(time=now, epoch=14, round=580), epoch_seconds=40.0, rounds=40)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hippy.validator.verifying.difference import Difference, Remark
from hippy.wire.audit import EpochHeader

EPOCHS_OFF: Final = 1.5
"""One for not knowing where in its epoch the chain is, and half for headers that are made late."""

TOGETHER_EPOCHS: Final = 0.5
"""By how much time and first round of one header may contradict each other."""

SLACK_SECONDS: Final = 5.0
SLACK_ROUNDS: Final = 8
"""Two blocks: by as much a node's view of the chain may be behind another's."""

DRIFT: Final = 0.02
"""By what part blocks are slower or faster than they should be, over the whole way back."""

TEMPO_OFF: Final = 0.1
TEMPO_ROUNDS_OFF: Final = 2
"""How far the rounds of a header may be from the chain's before the tempo was another one."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the chain is: Unix seconds, its epoch and the newest beacon round, all of one time."""

    time: float
    epoch: int
    round: int


def check_timing(headers: Sequence[EpochHeader], moment: Moment, *, epoch_seconds: float, rounds: int) -> list[Remark]:
    """Check headers, oldest first, against the chain; return what is to be known of its tempo.

    ``epoch_seconds`` and ``rounds`` are those of an epoch now. Raises Difference for the newest header that cannot
    have been made when it says.
    """
    seconds = epoch_seconds / rounds
    slack = max(SLACK_ROUNDS, SLACK_SECONDS / seconds)
    rate, remarks = rounds, list[Remark]()
    epoch, expected_round, expected_time = moment.epoch, float(moment.round), moment.time
    after: EpochHeader | None = None
    for header in reversed(headers):
        if header.rounds and not _is_about(header.rounds, rate):
            rate = header.rounds
            what = f"an epoch had {rate} beacon rounds, and has {rounds} now: the subnet's tempo was changed since"
            remarks.append(Remark(what, epoch=header.epoch))
        passed = (epoch - header.epoch) * rate
        epoch, expected_round, expected_time = header.epoch, expected_round - passed, expected_time - passed * seconds
        drift = slack + DRIFT * abs(moment.round - expected_round)
        rounds_off, time_off = header.first_round - expected_round, (header.time - expected_time) / seconds
        if after is not None:
            _check_step(header, after, rate, rounds + slack)
        for name, off, unit, factor in (("first round", rounds_off, "rounds", 1.0), ("time", time_off, "s", seconds)):
            if abs(off) > EPOCHS_OFF * rounds + drift:
                raise _not_then(header, f"its {name} is {abs(off) * factor:.0f} {unit}", off)
        if abs(rounds_off - time_off) > TOGETHER_EPOCHS * rounds + drift:
            off = rounds_off - time_off
            raise _not_then(header, f"by its time, its first round is {abs(off):.0f} rounds", off)
        after = header
    return remarks


def _check_step(header: EpochHeader, after: EpochHeader, rate: int, off_max: float) -> None:
    expected, found = (after.epoch - header.epoch) * rate, after.first_round - header.first_round
    if abs(found - expected) > off_max + DRIFT * expected:
        raise Difference(
            f"about {expected} beacon rounds were expected up to the header of epoch {after.epoch}, "
            f"{found} were found: one of them was not made when its epoch began",
            epoch=header.epoch,
        )


def _is_about(found: int, expected: int) -> bool:
    return abs(found - expected) <= max(TEMPO_ROUNDS_OFF, TEMPO_OFF * expected)


def _not_then(header: EpochHeader, what: str, off: float) -> Difference:
    where = "ahead of" if off > 0 else "behind"
    return Difference(f"the header was not made when its epoch began: {what} {where} the chain's", epoch=header.epoch)
