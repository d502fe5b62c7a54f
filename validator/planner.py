"""Draws miners for pieces: brings candidates, beacon and the epoch's secret to hippy.validator.placement.

A piece that its miner could not take is drawn again from the same beacon and epoch as the whole segment, among
the miners that are there now: whoever comes next in the draw gets it, and re-allocating is no way to draw anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hippy.chain.protocol import Chain
from hippy.ids import PublicKey, SegmentId
from hippy.validator.allocation import Assignment, CandidatePool, Plan
from hippy.validator.directory import MinerDirectory, Offer
from hippy.validator.placement import Draw, epoch_secret, place
from hippy.validator.tables import Allocation
from hippy.wire.log import CandidateSet
from hippy.wire.segment import SegmentSpec


@dataclass(frozen=True, slots=True)
class Lot:
    """What segments are drawn from at one moment."""

    placement_round: int
    beacon: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Replacement:
    """A miner drawn to take a piece over, and what from."""

    assignment: Assignment
    lot: Lot
    pool: CandidatePool


class Planner:
    """Plans placements for one validator."""

    def __init__(self, chain: Chain, directory: MinerDirectory, secret: bytes) -> None:
        self._chain = chain
        self._directory = directory
        self._secret = secret

    async def plan(self, segments: Mapping[SegmentId, SegmentSpec]) -> dict[SegmentId, Plan]:
        """Return where the pieces of new segments go.

        Raises TemporaryError when there are too few candidates, or the chain cannot be read.
        """
        if not segments:
            return {}
        lot = await self._lot()
        lengths = {spec.piece_length for spec in segments.values()}
        offers = {length: self._directory.offers(length) for length in lengths}
        # 64 segments of 24 pieces among 256 miners are 400,000 hashes: half a second.
        return await asyncio.to_thread(self._plan_all, segments, offers, lot)

    async def move(self, allocation: Allocation, indices: Sequence[int]) -> tuple[dict[int, Assignment], CandidatePool]:
        """Return other miners for pieces of an allocation, and the candidates they were drawn from.

        Raises TemporaryError when there are too few candidates.
        """
        offers = self._directory.offers(allocation.spec.piece_length)
        failed = [allocation.places[index].miner for index in indices]
        staying = [place.miner for index, place in enumerate(allocation.places) if index not in indices]
        draw = self._draw(allocation.beacon, allocation.epoch, allocation.segment_id)
        chosen = place(
            indices,
            [offer.candidate for offer in offers],
            draw,
            held=self._directory.holders(staying),
            excluded={*failed, *staying, *allocation.tried},
            spread=not self._chain.is_local,
        )
        endpoints = {offer.candidate.hotkey: offer.endpoint for offer in offers}
        moved = {
            index: Assignment(candidate.hotkey, endpoints[candidate.hotkey])
            for index, candidate in zip(indices, chosen, strict=True)
        }
        return moved, self._pool(offers)

    async def replace(
        self,
        segment_id: SegmentId,
        index: int,
        piece_length: int,
        *,
        holders: Sequence[PublicKey],
        excluded: Collection[PublicKey],
    ) -> Replacement:
        """Return who is to make a committed segment's piece anew, drawn from the newest beacon (PROTOCOL §7).

        ``holders`` are those of its other pieces, none of whom, nor of ``excluded``, gets it. Raises TemporaryError
        when there is no candidate, or the chain cannot be read.
        """
        lot, offers = await self._lot(), self._directory.offers(piece_length)
        (chosen,) = place(
            (index,),
            [offer.candidate for offer in offers],
            self._draw(lot.beacon, lot.epoch, segment_id),
            held=self._directory.holders(holders),
            excluded={*holders, *excluded},
            spread=not self._chain.is_local,
        )
        endpoint = next(offer.endpoint for offer in offers if offer.candidate.hotkey == chosen.hotkey)
        return Replacement(Assignment(chosen.hotkey, endpoint), lot, self._pool(offers))

    async def _lot(self) -> Lot:
        newest = await self._chain.beacon_round()
        return Lot(newest, await self._chain.beacon(newest), await self._chain.current_epoch())

    def _plan_all(
        self, segments: Mapping[SegmentId, SegmentSpec], offers: Mapping[int, Sequence[Offer]], lot: Lot
    ) -> dict[SegmentId, Plan]:
        pools = {length: self._pool(some) for length, some in offers.items()}
        return {
            segment_id: self._plan(segment_id, spec, offers[spec.piece_length], pools[spec.piece_length], lot)
            for segment_id, spec in segments.items()
        }

    def _plan(
        self, segment_id: SegmentId, spec: SegmentSpec, offers: Sequence[Offer], pool: CandidatePool, lot: Lot
    ) -> Plan:
        chosen = place(
            range(spec.n),
            pool.members.candidates,
            self._draw(lot.beacon, lot.epoch, segment_id),
            spread=not self._chain.is_local,
        )
        endpoints = {offer.candidate.hotkey: offer.endpoint for offer in offers}
        assignments = tuple(Assignment(each.hotkey, endpoints[each.hotkey]) for each in chosen)
        return Plan(lot.placement_round, lot.beacon, lot.epoch, pool, assignments)

    def _draw(self, beacon: bytes, epoch: int, segment_id: SegmentId) -> Draw:
        return Draw(epoch_secret(self._secret, epoch), beacon, segment_id)

    def _pool(self, offers: Sequence[Offer]) -> CandidatePool:
        members = CandidateSet(candidates=tuple(offer.candidate for offer in offers))
        return CandidatePool(members, members.id(self._chain.network))
