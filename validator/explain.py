"""Why a miner weighs what it weighs, in words and numbers (PROTOCOL §5.6, §6). Pure.

Owns the sentences; the formulas are hippy.validator.scoring's, and every number here comes out of them.

Invariants: all text is printable ASCII of at most 256 characters whatever the numbers; a factor that costs something
says what to do next, one that does not says nothing.

Example::

    for factor in factors(score, sheet.rules):
        print(factor.name, factor.value_ppm, factor.rests_on, factor.todo or "")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from hippy.ids import PublicKey
from hippy.validator.audit.rules import AuditRules
from hippy.validator.scoring import (
    PPM,
    Leaves,
    Proofs,
    Tally,
    counted_bytes,
    proof_ppm,
    proofs_of,
    required_bps,
    throughput_bps,
)
from hippy.wire.score import (
    ACCOUNTS_MAX,
    FAILURES_MAX,
    HISTORY_MAX,
    AccountBytes,
    AuditFailure,
    Factor,
    MinerReport,
    MinerScore,
    PastScore,
    ScoreRules,
    ScoreSheet,
)

MinerState = Literal["live", "silent", "unpublished", "unregistered"]

RECOVERED_PPM: Final = 990_000
"""A memory of failures fades and never quite ends; from here on it costs less than a hundredth."""

RECOVERY_EPOCHS_MAX: Final = 1_000
"""50 days of 72-minute epochs; beyond, how many are left is no use to anybody."""

_UNITS: Final = ((2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def factors(score: MinerScore, rules: ScoreRules) -> tuple[Factor, ...]:
    """Return what a weight is made of, in the order bytes, proofs, uptime, reads, speed, age."""
    return (
        _bytes(score, rules),
        _proofs(score, rules),
        _uptime(score, rules),
        _reads(score, rules),
        _speed(score, rules),
        _age(score, rules),
    )


def report(
    *,
    validator: PublicKey,
    hotkey: PublicKey,
    time: int,
    state: MinerState,
    sheet: ScoreSheet | None,
    owed_batches: int,
    history: Sequence[PastScore],
    failures: Sequence[AuditFailure],
    accounts: Sequence[AccountBytes],
    drain_time: int | None = None,
) -> MinerReport:
    """Return all that is told about a miner; what is more than a message takes is left out at the end.

    ``sheet`` is the newest one, None before there is any; history and failures come newest first, the largest
    account first. ``time`` and ``drain_time``, when it asked to leave if it did, are Unix seconds.
    """
    scores = () if sheet is None else sheet.miners
    score = next((each for each in scores if each.hotkey == hotkey), None)
    total = sum(each.weight for each in scores)
    return MinerReport(
        validator=validator,
        hotkey=hotkey,
        time=time,
        epoch=0 if sheet is None else sheet.epoch,
        state=state,
        drain_time=drain_time,
        score=score,
        share_ppm=PPM * score.weight // total if score is not None and total else 0,
        owed_batches=owed_batches,
        factors=() if score is None or sheet is None else factors(score, sheet.rules),
        history=tuple(history[:HISTORY_MAX]),
        failures=tuple(failures[:FAILURES_MAX]),
        accounts=tuple(accounts[:ACCOUNTS_MAX]),
    )


def recovery_epochs(proofs: Proofs, rules: ScoreRules, *, leaves: int) -> int | None:
    """Return after how many epochs, each with so many leaves and all of them shown, Q is 99 % again.

    None if it takes more than RECOVERY_EPOCHS_MAX.
    """
    for epochs in range(RECOVERY_EPOCHS_MAX + 1):
        if proof_ppm(proofs.shown_ppm, rules) >= RECOVERED_PPM:
            return epochs
        proofs = proofs.after(Leaves(ok=leaves), rules)
    return None


def _bytes(score: MinerScore, rules: ScoreRules) -> Factor:
    paid, unpaid = score.paid_bytes, score.unpaid_bytes
    counted = counted_bytes(paid, unpaid, rules)
    unpaid_part = f"{rules.unpaid_percent} % of {_size(unpaid)} unpaid"
    todo = None
    if counted == 0:
        todo = (
            "Hold data: keep the miner reachable at the endpoint it published, with free capacity and room on its "
            "disk; validators place pieces on miners that answer. hippy doctor checks the installation."
        )
    return Factor(name="bytes", rests_on=f"{_size(counted)} count: {_size(paid)} paid and {unpaid_part}", todo=todo)


def _proofs(score: MinerScore, rules: ScoreRules) -> Factor:
    proofs = proofs_of(score)
    slow, fast = (_share(*each) for each in _memories(proofs))
    asked = score.leaves_ok + score.leaves_bad
    shown = f"{score.leaves_ok:,} of {asked:,} leaves shown this epoch" if asked else "no leaf counted this epoch"
    return Factor(
        name="proofs",
        value_ppm=score.proof_ppm,
        rests_on=f"{shown}; {slow} by the slow memory, {fast} by the fast one, and the lower one counts",
        todo=_proofs_todo(proofs, rules) if score.proof_ppm < PPM else None,
    )


def _proofs_todo(proofs: Proofs, rules: ScoreRules) -> str:
    if proof_ppm(proofs.shown_ppm, rules) >= RECOVERED_PPM:
        return "Check the disk if failures go on; else show every leaf, and what is left of them fades by itself."
    usual = AuditRules()
    epochs = recovery_epochs(proofs, rules, leaves=usual.batches * usual.batch_leaves)
    when = f"in {epochs:,} epochs" if epochs is not None else f"in more than {RECOVERY_EPOCHS_MAX:,} epochs"
    return (
        "Check the disk for lost pieces and keep the miner's data directory whole. A failed piece is lost for good, "
        f"its bytes no longer count; {_percent(rules.proof_floor_ppm)} shown or less earns nothing. "
        f"Showing all leaves from now on: 99 % {when}."
    )


def _uptime(score: MinerScore, rules: ScoreRules) -> Factor:
    checks = f"{score.live_ok:,} of {score.live_total:,} liveness checks in the last {rules.window_epochs:,} epochs"
    floor, full = rules.uptime_floor_ppm, rules.uptime_floor_ppm + rules.uptime_span_ppm
    todo = (
        f"Keep the miner running and reachable at the endpoint it published. {_percent(full)} of checks count in full, "
        f"{_percent(floor)} or less nothing; a check that failed is forgotten {rules.window_epochs:,} epochs later."
    )
    return Factor(
        name="uptime",
        value_ppm=score.uptime_ppm,
        rests_on=f"{checks}, with a credit of {rules.credit_live:,}",
        todo=todo if score.uptime_ppm < PPM else None,
    )


def _reads(score: MinerScore, rules: ScoreRules) -> Factor:
    reads = f"{score.reads_ok:,} of {score.reads_total:,} reads in the last {rules.window_epochs:,} epochs"
    floor, full = rules.reads_floor_ppm, rules.reads_floor_ppm + rules.reads_span_ppm
    todo = (
        "Serve whole pieces to whoever asks, in time and unchanged: look for read errors in the miner's log and for "
        f"limits on its line. {_percent(full)} of reads count in full, {_percent(floor)} or less nothing."
    )
    return Factor(
        name="reads",
        value_ppm=score.reads_ppm,
        rests_on=f"{reads}, with a credit of {rules.credit_reads:,}",
        todo=todo if score.reads_ppm < PPM else None,
    )


def _speed(score: MinerScore, rules: ScoreRules) -> Factor:
    counted = counted_bytes(score.paid_bytes, score.unpaid_bytes, rules)
    tally = Tally(read_bytes=score.read_bytes, read_microseconds=score.read_microseconds)
    measured, required = throughput_bps(tally), required_bps(counted, rules)
    needed = f"{_megabits(required)} required for {_size(counted)} that count"
    found = "nothing measured yet"
    if measured is not None:
        found = f"{_megabits(measured)} over {_size(score.read_bytes)} in the last {rules.window_epochs:,} epochs"
    todo = None
    if score.speed_ppm < PPM and measured is not None:
        todo = (
            f"Serve reads at {_megabits(required)} instead of {_megabits(measured)}: a faster line or disk, less other "
            "load. Identities that share an address group or an owner are read at once and share their line."
        )
    return Factor(name="speed", value_ppm=score.speed_ppm, rests_on=f"{found}; {needed}", todo=todo)


def _age(score: MinerScore, rules: ScoreRules) -> Factor:
    left = rules.age_epochs - score.age_epochs
    todo = (
        f"Nothing but time: full in {left:,} epochs. A new hotkey, or this one registered anew, "
        f"begins at {_percent(rules.age_floor_ppm)}."
    )
    return Factor(
        name="age",
        value_ppm=score.age_ppm,
        rests_on=f"{score.age_epochs:,} epochs since registration; {rules.age_epochs:,} count in full",
        todo=todo if score.age_ppm < PPM else None,
    )


def _memories(proofs: Proofs) -> tuple[tuple[int, int], tuple[int, int]]:
    return (proofs.slow_alpha, proofs.slow_beta), (proofs.fast_alpha, proofs.fast_beta)


def _share(alpha: int, beta: int) -> str:
    return _percent(PPM * alpha // (alpha + beta) if alpha + beta else PPM)


def _percent(ppm: int) -> str:
    """Return ``97.11 %``, rounded down so that 100 % is never said of less; whole numbers without a fraction."""
    hundredths = ppm // 100
    if hundredths % 100 == 0:
        return f"{hundredths // 100} %"
    return f"{hundredths // 100}.{hundredths % 100:02} %"


def _megabits(bits_per_second: int) -> str:
    return f"{bits_per_second / 10**6:,.1f} Mbit/s"


def _size(count: int) -> str:
    """Return ``97.1 GiB``, as the commands show sizes."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count} B"
