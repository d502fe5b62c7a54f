"""What a miner's epoch is worth: w = B·Q·U·R·T·A (PROTOCOL §6). Pure, in integers, the same on every machine.

Bytes count linearly, thresholds are absolute, proof failures weigh steeply. Percentiles, and pass rates blind to
bytes, pay whoever splits into many identities, so there are none. Where the numbers come from is
hippy.validator.auditing.auditor's; what a factor means to a person hippy.validator.explain's.

Invariants: more bytes, proofs, uptime or speed never lower a weight; a fresh miner is credited with a day of uptime
and reads, and one leaf, so that its first minute decides nothing; forgetting needs new evidence.

Example::

    score = next_score(before, Evidence(...), ScoreRules(), epoch=7)
    score.weight
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Final

from hippy.errors import ProtocolError
from hippy.ids import PublicKey
from hippy.validator.audit.rules import AuditRules
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.score import MinerScore, ScoreRules

PPM: Final = 1_000_000
LEAF: Final = 1_000_000
"""Alpha and beta count millionths of a leaf."""

TERABYTE: Final = 10**12
CREDIT_EPOCHS: Final = 20
"""Epochs of successful probes that a fresh miner is credited with: a day of 72-minute epochs."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over probes: liveness checks, reads, and the bytes and time of the reads that measure throughput."""

    live_ok: int = 0
    live_total: int = 0
    reads_ok: int = 0
    reads_total: int = 0
    read_bytes: int = 0
    read_microseconds: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Leaves:
    """Leaves of settled batches that were shown, and that were not."""

    ok: int = 0
    bad: int = 0

    def __add__(self, other: Leaves) -> Leaves:
        return Leaves(self.ok + other.ok, self.bad + other.bad)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one epoch's score of one miner rests on; ``tally`` is over the window, this epoch included."""

    hotkey: PublicKey
    coldkey: PublicKey
    uid: int
    paid_bytes: int
    unpaid_bytes: int
    leaves: Leaves
    tally: Tally
    age_epochs: int


@dataclass(frozen=True, slots=True)
class Proofs:
    """The memory of leaves shown and not shown, slow and fast, in millionths of a leaf."""

    slow_alpha: int = LEAF
    slow_beta: int = 0
    fast_alpha: int = LEAF
    fast_beta: int = 0

    def after(self, leaves: Leaves, rules: ScoreRules) -> Proofs:
        """Return the memory after an epoch; one without counted leaves changes nothing."""
        if leaves.ok + leaves.bad == 0:
            return self
        slow, fast = rules.slow_percent, rules.fast_percent
        return Proofs(
            self.slow_alpha * slow // 100 + LEAF * leaves.ok,
            self.slow_beta * slow // 100 + LEAF * leaves.bad,
            self.fast_alpha * fast // 100 + LEAF * leaves.ok,
            self.fast_beta * fast // 100 + LEAF * leaves.bad,
        )

    @property
    def shown_ppm(self) -> int:
        """The smaller share of leaves shown."""
        return min(_share(self.slow_alpha, self.slow_beta), _share(self.fast_alpha, self.fast_beta))


def score_rules_for(rules: AuditRules) -> ScoreRules:
    """Return the constants of scores where audits have these: the credit is a number of epochs of probes."""
    return ScoreRules(credit_live=CREDIT_EPOCHS * rules.live_checks, credit_reads=CREDIT_EPOCHS * rules.reads)


def proofs_of(score: MinerScore | None) -> Proofs:
    """Return the memory that a miner's last score carries on; None: it has none."""
    if score is None:
        return Proofs()
    return Proofs(score.slow_alpha, score.slow_beta, score.fast_alpha, score.fast_beta)


def next_score(before: MinerScore | None, evidence: Evidence, rules: ScoreRules, *, epoch: int) -> MinerScore:
    """Return the score of ``epoch``, given the one of the epoch before.

    Raises ProtocolError where a number comes out that no message carries, as from a stranger's sheet it may.
    """
    proofs = proofs_of(before).after(evidence.leaves, rules)
    tally, leaves = evidence.tally, evidence.leaves
    counted = counted_bytes(evidence.paid_bytes, evidence.unpaid_bytes, rules)
    factors = (
        proof_ppm(proofs.shown_ppm, rules),
        uptime_ppm(tally, rules),
        reads_ppm(tally, rules),
        speed_ppm(tally, counted, rules),
        age_ppm(evidence.age_epochs, rules),
    )
    weight = weight_of(counted, *factors)
    if max(weight, *astuple(proofs)) > INTEGER_MAX:
        raise ProtocolError("a miner's score has a number above 2^53 - 1")
    return MinerScore(
        hotkey=evidence.hotkey,
        coldkey=evidence.coldkey,
        uid=evidence.uid,
        paid_bytes=evidence.paid_bytes,
        unpaid_bytes=evidence.unpaid_bytes,
        leaves_ok=leaves.ok,
        leaves_bad=leaves.bad,
        slow_alpha=proofs.slow_alpha,
        slow_beta=proofs.slow_beta,
        fast_alpha=proofs.fast_alpha,
        fast_beta=proofs.fast_beta,
        escalated_until=escalated_until(before, leaves, rules, epoch=epoch),
        live_ok=tally.live_ok,
        live_total=tally.live_total,
        reads_ok=tally.reads_ok,
        reads_total=tally.reads_total,
        read_bytes=tally.read_bytes,
        read_microseconds=tally.read_microseconds,
        age_epochs=evidence.age_epochs,
        proof_ppm=factors[0],
        uptime_ppm=factors[1],
        reads_ppm=factors[2],
        speed_ppm=factors[3],
        age_ppm=factors[4],
        weight=weight,
    )


def escalated_until(before: MinerScore | None, leaves: Leaves, rules: ScoreRules, *, epoch: int) -> int | None:
    """Return the last epoch in which the miner is asked more, None where it is not."""
    if leaves.bad:
        return epoch + rules.escalated_epochs
    until = before.escalated_until if before is not None else None
    return until if until is not None and until > epoch else None


def counted_bytes(paid_bytes: int, unpaid_bytes: int, rules: ScoreRules) -> int:
    """Return B: paid bytes in full, unpaid ones in part."""
    return paid_bytes + unpaid_bytes * rules.unpaid_percent // 100


def proof_ppm(shown_ppm: int, rules: ScoreRules) -> int:
    """Return Q: the square of how far the share of leaves shown is above the floor."""
    above = _clip((shown_ppm - rules.proof_floor_ppm) * PPM // (PPM - rules.proof_floor_ppm))
    return above * above // PPM


def uptime_ppm(tally: Tally, rules: ScoreRules) -> int:
    """Return U."""
    share = credited_ppm(tally.live_ok, tally.live_total, rules.credit_live)
    return _clip((share - rules.uptime_floor_ppm) * PPM // rules.uptime_span_ppm)


def reads_ppm(tally: Tally, rules: ScoreRules) -> int:
    """Return R."""
    share = credited_ppm(tally.reads_ok, tally.reads_total, rules.credit_reads)
    return _clip((share - rules.reads_floor_ppm) * PPM // rules.reads_span_ppm)


def speed_ppm(tally: Tally, counted: int, rules: ScoreRules) -> int:
    """Return T: measured throughput by what B asks for, 1 where nothing was measured.

    By B and not by all that is held: else giving a slow miner unpaid data would lower its weight.
    """
    measured = throughput_bps(tally)
    return PPM if measured is None else _clip(PPM * measured // required_bps(counted, rules))


def throughput_bps(tally: Tally) -> int | None:
    """Return the bits per second of the reads that measure it, None where there were none."""
    return 8 * PPM * tally.read_bytes // tally.read_microseconds if tally.read_microseconds else None


def required_bps(counted: int, rules: ScoreRules) -> int:
    """Return the bits per second that a miner with so many counted bytes should serve at."""
    return min(max(rules.bps_per_terabyte * counted // TERABYTE, rules.bps_min), rules.bps_max)


def age_ppm(age_epochs: int, rules: ScoreRules) -> int:
    """Return A: from a floor to 1 in two weeks."""
    return rules.age_floor_ppm + (PPM - rules.age_floor_ppm) * min(age_epochs, rules.age_epochs) // rules.age_epochs


def credited_ppm(succeeded: int, total: int, credit: int) -> int:
    """Return the share of successes, ``credit`` of them being given to begin with."""
    return PPM * (succeeded + credit) // (total + credit) if total + credit else PPM


def weight_of(counted: int, *factors_ppm: int) -> int:
    """Return B times the factors, divided after each."""
    weight = counted
    for factor in factors_ppm:
        weight = weight * factor // PPM
    return weight


def _share(alpha: int, beta: int) -> int:
    return PPM * alpha // (alpha + beta) if alpha + beta else PPM


def _clip(ppm: int) -> int:
    return min(max(ppm, 0), PPM)
