"""The page's numbers: a network-status made of what a validator knows. Pure.

Owns what follows from what: sums, shares, who is a validator, which factors are reasons. The words of reasons are
hippy.validator.explain's.

Invariants: whatever miners say of themselves, the message can be spelt (sums end at INTEGER_MAX); nothing here takes an
account's key or bytes.

Example::

    standings = standings_of(sheet)      # once per sheet: they are the dear part
    status = status_of(facts)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.tree import LEAF_BYTES
from hippy.validator.audit.lag import AuditLag
from hippy.validator.auditing.weighing import WeightsTry
from hippy.validator.explain import factors
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures
from hippy.validator.scoring import PPM, weight_of
from hippy.version import __version__
from hippy.wire.audit import EpochHeader
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.node import MINERS_MAX, PROTOCOL_VERSION, MinerEntry
from hippy.wire.score import MinerScore, ScoreRules, ScoreSheet
from hippy.wire.status import (
    SPARE_MAX,
    AuditStatus,
    FollowedStatus,
    MinerStanding,
    MinerStatus,
    NetworkStatus,
    Reason,
    RepairStatus,
    SegmentHealth,
    SegmentsStatus,
    SpareCount,
    Totals,
    ValidatorStatus,
    WeightsStatus,
)

FILLED_MAX: Final = 64
"""Up to this many steps the histogram lists the empty ones too; an ordinary code has far fewer."""


@dataclass(frozen=True, slots=True)
class Standings:
    """What a sheet says of its miners; ``epoch`` None where there is no sheet yet."""

    epoch: int | None
    by_miner: Mapping[PublicKey, MinerStanding]


NO_STANDINGS: Final = Standings(None, {})


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a status is made of; ``now`` in Unix seconds, ``entries`` are the present transcript's."""

    validator: PublicKey
    network: NetworkId
    netuid: int
    now: int
    block: int | None
    chain_epoch: int | None
    beacon_round: int
    header: EpochHeader | None
    log_seq: int
    metagraph: Metagraph
    miners: Sequence[MinerEntry]
    held_pieces: Mapping[PublicKey, int]
    owed_batches: Mapping[PublicKey, int]
    standings: Standings
    committed_segments: int
    released_segments: int
    entries: int
    lag: AuditLag
    weights: WeightsTry | None
    health: HealthFigures | None
    repair: RepairFigures | None
    followed: Sequence[FollowedLog]


def standings_of(sheet: ScoreSheet) -> Standings:
    """Return what a sheet comes to for each of its miners."""
    total = sum(score.weight for score in sheet.miners)
    return Standings(sheet.epoch, {score.hotkey: _standing(score, sheet.rules, total) for score in sheet.miners})


def status_of(facts: Facts) -> NetworkStatus:
    """Return the status that is served."""
    header = facts.header
    miners = tuple(_miner(entry, facts) for entry in facts.miners[:MINERS_MAX])
    return NetworkStatus(
        validator=facts.validator,
        network=facts.network,
        netuid=facts.netuid,
        software=f"hippy {__version__}",
        protocol=PROTOCOL_VERSION,
        time=facts.now,
        block=facts.block,
        beacon_round=facts.beacon_round,
        chain_epoch=facts.chain_epoch,
        epoch=None if header is None else header.epoch,
        epoch_time=None if header is None else header.time,
        sheet_epoch=facts.standings.epoch,
        log_seq=facts.log_seq,
        totals=_totals(miners),
        miners=miners,
        segments=SegmentsStatus(
            committed=facts.committed_segments,
            released=facts.released_segments,
            health=None if facts.health is None else _health(facts.health),
        ),
        repair=None if facts.repair is None else _repair(facts.repair),
        weights=None if facts.weights is None else _weights(facts.weights),
        audits=AuditStatus(
            entries=facts.entries,
            due_batches=facts.lag.due,
            owed_batches=facts.lag.owed,
            oldest_seconds=facts.lag.oldest_seconds,
        ),
        validators=tuple(_validators(facts)[:MINERS_MAX]),
    )


def _standing(score: MinerScore, rules: ScoreRules, total: int) -> MinerStanding:
    held_bytes = _sum((score.paid_bytes, score.unpaid_bytes))
    return MinerStanding(
        held_bytes=held_bytes,
        proved_bytes=min(held_bytes, score.leaves_ok * LEAF_BYTES),
        leaves_ok=score.leaves_ok,
        leaves_bad=score.leaves_bad,
        weight=score.weight,
        share_ppm=PPM * score.weight // total if total else 0,
        health_ppm=weight_of(PPM, score.proof_ppm, score.uptime_ppm, score.reads_ppm, score.speed_ppm),
        reasons=tuple(
            Reason(name=factor.name, value_ppm=factor.value_ppm, rests_on=factor.rests_on)
            for factor in factors(score, rules)
            if factor.todo is not None
        ),
    )


def _miner(entry: MinerEntry, facts: Facts) -> MinerStatus:
    return MinerStatus(
        uid=entry.uid,
        hotkey=entry.hotkey,
        state=entry.state,
        seen_time=entry.seen_time,
        capacity_bytes=entry.capacity_bytes,
        used_bytes=entry.used_bytes,
        held_pieces=facts.held_pieces.get(entry.hotkey, 0),
        owed_batches=facts.owed_batches.get(entry.hotkey, 0),
        standing=facts.standings.by_miner.get(entry.hotkey),
    )


def _totals(miners: Sequence[MinerStatus]) -> Totals:
    standings = [miner.standing for miner in miners if miner.standing is not None]
    return Totals(
        miners=len(miners),
        live_miners=sum(miner.state == "live" for miner in miners),
        capacity_bytes=_sum(miner.capacity_bytes for miner in miners),
        used_bytes=_sum(miner.used_bytes for miner in miners),
        held_bytes=_sum(standing.held_bytes for standing in standings),
        proved_bytes=_sum(standing.proved_bytes for standing in standings),
        leaves_ok=_sum(standing.leaves_ok for standing in standings),
        leaves_bad=_sum(standing.leaves_bad for standing in standings),
    )


def _health(figures: HealthFigures) -> SegmentHealth:
    known = {spare: count for spare, count in figures.by_spare.items() if 0 <= spare <= SPARE_MAX and count}
    spares = list(range(max(known) + 1)) if known and max(known) < FILLED_MAX else sorted(known)
    return SegmentHealth(
        by_spare=tuple(SpareCount(spare=spare, segments=known.get(spare, 0)) for spare in spares),
        lost=_sum(count for spare, count in figures.by_spare.items() if spare < 0),
        at_threshold=figures.at_threshold,
    )


def _repair(figures: RepairFigures) -> RepairStatus:
    return RepairStatus(
        queued_segments=figures.queued_segments,
        queued_bytes=_sum((figures.queued_bytes,)),
        stuck_segments=figures.stuck_segments,
        repairing=figures.repairing,
    )


def _weights(weights: WeightsTry) -> WeightsStatus:
    return WeightsStatus(epoch=weights.epoch, time=weights.time, outcome=weights.outcome, miners=weights.miners)


def _validators(facts: Facts) -> list[ValidatorStatus]:
    """Return the other validators: who has a permit and is no miner, and whose log is followed; by uid, then key."""
    miners = {entry.hotkey for entry in facts.miners}
    permitted = {
        neuron.hotkey: neuron
        for neuron in facts.metagraph.neurons
        if neuron.validator_permit and neuron.hotkey not in miners
    }
    logs = {log.home: log for log in facts.followed}
    stake = sum(neuron.stake_rao for neuron in permitted.values())
    found = []
    for hotkey in (permitted.keys() | logs.keys()) - {facts.validator}:
        neuron = permitted.get(hotkey)
        found.append(
            ValidatorStatus(
                hotkey=hotkey,
                uid=None if neuron is None else neuron.uid,
                stake_ppm=PPM * neuron.stake_rao // stake if neuron is not None and stake else 0,
                log=_followed(logs[hotkey]) if hotkey in logs else None,
            )
        )
    return sorted(found, key=lambda each: (each.uid is None, each.uid, each.hotkey))


def _followed(log: FollowedLog) -> FollowedStatus:
    return FollowedStatus(seq=log.seq, known_seq=log.known_seq, behind=max(0, log.known_seq - log.seq), time=log.time)


def _sum(counts: Iterable[int]) -> int:
    """Return a sum that can be spelt: what miners say of themselves adds up to more than an integer may be."""
    return min(INTEGER_MAX, sum(counts))
