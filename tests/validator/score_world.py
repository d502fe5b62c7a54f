"""Evidence of miners, good and bad, and the steady state of one that lost a part, for tests of scores."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hippy.ids import PublicKey
from hippy.validator.scoring import PPM, Evidence, Leaves, Tally, next_score
from hippy.wire.score import MinerScore, ScoreRules

RULES = ScoreRules()
HOTKEY, COLDKEY = PublicKey(b"m" * 32), PublicKey(b"c" * 32)
TERABYTE = 10**12
GOOD_TALLY = Tally(
    live_ok=1_680,
    live_total=1_680,
    reads_ok=1_120,
    reads_total=1_120,
    read_bytes=1_120 * 2**22,
    read_microseconds=1_120 * 100_000,
)
"""A week without a miss, at 335 Mbit/s."""


def evidence(**changes: Any) -> Evidence:
    """Return the evidence of a miner with a terabyte that does everything well."""
    fields: dict[str, Any] = {
        "hotkey": HOTKEY,
        "coldkey": COLDKEY,
        "uid": 1,
        "paid_bytes": TERABYTE,
        "unpaid_bytes": 0,
        "leaves": Leaves(256, 0),
        "tally": GOOD_TALLY,
        "age_epochs": 280,
    }
    return Evidence(**{**fields, **changes})


def scored(before: MinerScore | None = None, *, epoch: int = 7, **changes: Any) -> MinerScore:
    """Return the score of :func:`evidence`."""
    return next_score(before, evidence(**changes), RULES, epoch=epoch)


def after(leaves: list[Leaves], **changes: Any) -> MinerScore:
    """Return the score after epochs with these leaves."""
    score: MinerScore | None = None
    for epoch, each in enumerate(leaves):
        score = scored(score, epoch=epoch, leaves=each, **changes)
    assert score is not None
    return score


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    """Sums over a week of probes; those of reads are of at most 4 MiB each."""
    live_total, reads_total = draw(st.integers(0, 1_680)), draw(st.integers(0, 1_120))
    reads_ok = draw(st.integers(0, reads_total))
    read_bytes = draw(st.integers(0, reads_ok * 2**22))
    return Tally(
        draw(st.integers(0, live_total)),
        live_total,
        reads_ok,
        reads_total,
        read_bytes,
        draw(st.integers(1, 10**10)) if read_bytes else 0,
    )


leaves = st.builds(Leaves, st.integers(0, 2_048), st.integers(0, 2_048))
proper_leaves = st.builds(Leaves, st.integers(0, 2_048), st.integers(0, 60))
"""Such as leave something of the weight."""

sizes = st.integers(0, 400 * TERABYTE)
miners = st.builds(
    evidence,
    paid_bytes=sizes,
    unpaid_bytes=sizes,
    leaves=leaves | proper_leaves,
    tally=tallies(),
    age_epochs=st.integers(0, 400),
)
"""Any evidence there may be."""

FACTORS = ("proof_ppm", "uptime_ppm", "reads_ppm", "speed_ppm", "age_ppm")


def rounding(weight: int, score: MinerScore) -> int:
    """Return by how much rounding may move a weight: by a millionth in each factor that is below 1."""
    values: list[int] = [getattr(score, name) for name in FACTORS]
    return sum(weight // value + 1 for value in values if 0 < value < PPM) + len(FACTORS)
