"""What a run shows: a row for every strategy, and where the bytes of every account went.

Figures are per unit of capacity, what an honest peer earns in the whole run being 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from hippy.sim.economy import Account, account_of, honest_peer
from hippy.sim.simulation import Run, weights_over_time
from hippy.sim.strategies import HONEST, STRATEGIES
from hippy.sim.wash import account_name
from hippy.wire.score import MinerScore

PPM: Final = 1_000_000
SPLIT_LIMIT: Final = 1.01
"""Splitting is honest storage under more names: it may cost nothing but must bring nothing (PROTOCOL §8, 7)."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What an honest miner spends of its revenue, and what a paid byte costs its account of what it earns a miner."""

    cost_share: float = 0.5
    fee_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy: an honest peer's revenue is 100; factors are means over its miners at the end, in 0 … 1.

    ``ratio`` is profit against honesty, ``weight`` the weight at the end against honesty; ``fee`` is part of the cost.
    """

    strategy: str
    about: str
    identities: int
    revenue: float
    cost: float
    fee: float
    profit: float
    ratio: float
    weight: float
    detected_epoch: int | None
    proofs: float
    uptime: float
    reads: float
    speed: float
    beats_honesty: bool


@dataclass(frozen=True, slots=True)
class Portion:
    """What of one account's bytes lies with one coldkey, and what placement by weight alone would have put there."""

    account: str
    operator: str
    coldkey: str
    bytes: int
    share: float
    expected_share: float


@dataclass(frozen=True, slots=True)
class WashRow:
    """One colluding account: what it stored, what of that its friends got, what that earned them and what it paid.

    ``earned`` and ``fee`` are in units of what an honest peer earns in the whole run, times 100; at a fee below
    ``break_even`` of what a byte earns, washing would pay.
    """

    account: str
    bytes: int
    share: float
    expected_share: float
    earned: float
    fee: float
    break_even: float


def rows_of(run: Run, prices: Prices) -> list[Row]:
    """Return a row for honesty and for every strategy."""
    weights = weights_over_time(run)
    return [_row(run, prices, name, weights[name][-1]) for name in (HONEST, *run.operations)]


def _row(run: Run, prices: Prices, name: str, weight: float) -> Row:
    miners = run.by_operator[name]
    account = _account(run, prices, name)
    ratio = account.against_honesty(prices.cost_share)
    scores = run.notes[name].scores
    return Row(
        strategy=name,
        about=STRATEGIES[name].about,
        identities=len(miners),
        revenue=100 * account.revenue,
        cost=100 * account.cost(prices.cost_share),
        fee=100 * account.fee,
        profit=100 * account.profit(prices.cost_share),
        ratio=ratio,
        weight=weight,
        detected_epoch=run.notes[name].detected_epoch,
        proofs=_mean(scores, "proof_ppm"),
        uptime=_mean(scores, "uptime_ppm"),
        reads=_mean(scores, "reads_ppm"),
        speed=_mean(scores, "speed_ppm"),
        beats_honesty=_beats_honesty(name, account, ratio),
    )


def _account(run: Run, prices: Prices, name: str) -> Account:
    peer = honest_peer(run.by_operator[HONEST])
    if name == HONEST:
        return Account(revenue=1, disk=1, bandwidth=1, registration=1, fee=0, peer_bandwidth=1)
    stored = run.holdings.by_account[account_name(name)]
    return account_of(run.by_operator[name], peer, fee=prices.fee_share * stored / peer.bytes)


def _beats_honesty(name: str, account: Account, ratio: float) -> bool:
    """Whether cheating paid. What splits must not pay even where identities and probes cost nothing."""
    if name == HONEST:
        return False
    if name.startswith("split-"):
        return max(ratio, account.revenue) > SPLIT_LIMIT
    return ratio >= 1


def wash_rows(run: Run, prices: Prices) -> list[WashRow]:
    """Return a row for every colluding account."""
    peer = honest_peer(run.by_operator[HONEST])
    found = []
    for name, operation in run.operations.items():
        if operation.wash is None:
            continue
        miners = run.by_operator[name]
        stored = run.holdings.by_account[account_name(name)]
        friendly = sum(miner.shelf.washed_bytes for miner in miners)
        earned = sum(
            miner.revenue * miner.shelf.washed_bytes / (miner.shelf.washed_bytes + miner.shelf.entrusted_bytes)
            for miner in miners
            if miner.shelf.washed_bytes  # in a small world a miner may be given nothing
        )
        found.append(
            WashRow(
                account=account_name(name),
                bytes=stored,
                share=friendly / stored,
                expected_share=_weight_share(run, name),
                earned=100 * earned / peer.revenue,
                fee=100 * prices.fee_share * stored / peer.bytes,
                break_even=earned / peer.revenue * peer.bytes / stored,
            )
        )
    return found


def portions_of(run: Run) -> list[Portion]:
    """Return what every account has with every coldkey, its largest portions first."""
    holdings = run.holdings
    total = sum(holdings.weights.values())
    found = [
        Portion(
            account=account,
            operator=operator,
            coldkey=coldkey.hex(),
            bytes=held,
            share=held / holdings.by_account[account],
            expected_share=holdings.weights[operator, coldkey] / total,
        )
        for (account, operator, coldkey), held in holdings.by_coldkey.items()
    ]
    return sorted(found, key=lambda each: (each.account, -each.bytes, each.coldkey))


def to_dict(run: Run, prices: Prices) -> dict[str, Any]:
    """Return everything as JSON has it."""
    return {
        "settings": asdict(run.settings),
        "prices": asdict(prices),
        "epochs": run.settings.epochs,
        "strategies": [asdict(row) for row in rows_of(run, prices)],
        "wash": [asdict(row) for row in wash_rows(run, prices)],
        "portions": [asdict(each) for each in portions_of(run)],
    }


def _weight_share(run: Run, name: str) -> float:
    weights = run.holdings.weights
    return sum(weight for (operator, _), weight in weights.items() if operator == name) / sum(weights.values())


def _mean(scores: Sequence[MinerScore], factor: str) -> float:
    return sum(getattr(score, factor) for score in scores) / (len(scores) * PPM) if scores else 0.0
