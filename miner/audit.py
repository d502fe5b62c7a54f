"""Answering audits: ``POST /v1/audit`` (PROTOCOL §5.2, §5.3).

A validator names up to 64 leaves and gets each with its path, or our word that it is lost, was released (with the
release) or was never received, under one signature. It is answered in the order size, signature, permit, parse, disk:
a stranger costs us a body of 2 KiB and no disk.

What one answer costs: one look into the index, one call into the store's threads (a read per leaf, a tree per piece)
and one more for hashing and signing. One validator has at most four answers under way and a rate over time
(hippy.miner.rates), and is told 429 beyond either; all validators share the turns at the disk. A turn ends before the
answer is sent, so that validators that take their answers slowly keep nobody from the disk; what they can hold is
memory, 4.3 MiB each, for :data:`SEND_SECONDS`.

Only what this disk cannot give is said to be lost. What it cannot give now is ``temporary`` for the whole answer, and
the validator asks again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hippy.errors import AuthError, RateLimitedError
from hippy.identity import Identity, ss58_encode
from hippy.ids import Root
from hippy.miner.bounds import Shares
from hippy.miner.figures import counting_errors
from hippy.miner.leaves import ProvenLeaf
from hippy.miner.permits import Permits
from hippy.miner.rates import Rates
from hippy.miner.service import Here
from hippy.miner.store import PieceStore
from hippy.proofs.evidence import evidence_of, response_hash
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import AuditRequest, Scope, parse_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.transport.sending import send
from hippy.transport.server import Guard, Route, error_response, read_body
from hippy.transport.turns import Turns

if TYPE_CHECKING:
    from typing_extensions import Buffer

AUDIT_BYTES_MAX: Final = 2_363
"""A request for 64 leaves (PROTOCOL §9)."""

BATCHES_PER_VALIDATOR_MAX: Final = 4
"""Answers under way for one validator (PROTOCOL §5.5)."""

TURNS_MAX: Final = 16
"""Answers being read from disk and signed, for all validators together."""

WAITING_MAX: Final = 256
"""Four for each of the 64 validators that a subnet has."""

WAIT_SECONDS: Final = 2.0
"""In line for a turn: the validator gives the whole answer little more than five seconds (PROTOCOL §5.5)."""

SEND_SECONDS: Final = 15.0
"""What is not taken by then, its validator has given up."""


class Audits:
    """The audit route."""

    def __init__(
        self, identity: Identity, here: Here, store: PieceStore, permits: Permits, guard: Guard, rates: Rates
    ) -> None:
        self._identity = identity
        self._here = here
        self._store = store
        self._permits = permits
        self._guard = guard
        self._rates = rates
        self._shares = Shares(BATCHES_PER_VALIDATOR_MAX, "audits")
        self._turns = Turns(TURNS_MAX, "audits", waiting_max=WAITING_MAX, wait_seconds=WAIT_SECONDS)

    def route(self) -> Route:
        """Return the route to serve."""
        return Route("POST", "/v1/audit", self.answer, body_bytes_max=AUDIT_BYTES_MAX, signed=True)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one batch."""
        outcomes = self._store.figures.audits
        with counting_errors(outcomes):
            answer = await self._answered(request)
        outcomes["answered" if answer.status == web.HTTPOk.status_code else "rate_limited"] += 1
        return answer

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, AUDIT_BYTES_MAX)
        validator = self._guard.sender(request, body)
        if not await self._permits.has(validator):
            raise AuthError(f"{ss58_encode(validator)} may not audit on this subnet: no permit, or too little stake")
        asked = parse_request(body)
        scope = Scope(self._here.network, self._here.netuid, validator, self._here.miner)
        with self._shares.take(validator):
            wait_seconds = self._rates.take(validator)
            if wait_seconds:
                return _too_often(wait_seconds)
            async with self._turns.turn():
                buffers = await self._answer(asked, scope, body)
            return await send(request, buffers, deadline_seconds=SEND_SECONDS)

    async def _answer(self, asked: AuditRequest, scope: Scope, body: bytes) -> list[Buffer]:
        found = await self._store.leaves(asked.entries)
        gone = {leaf.root for leaf in asked.entries if found.get(leaf) is None}
        releases = await self._store.releases.of(gone, scope.validator) if gone else {}
        entries = tuple(_entry(leaf, found, releases) for leaf in asked.entries)
        self._store.figures.leaves.update(entry.status.name.lower() for entry in entries)
        return await asyncio.to_thread(self._signed, entries, request_hash(scope, body))

    def _signed(self, entries: tuple[ResponseEntry, ...], bound_to: bytes) -> list[Buffer]:
        """Return the body of the answer; hashes a megabyte."""
        signed = response_hash(evidence_of(bound_to, entries))
        return encode_response(AuditResponse(bound_to, entries, signed, self._identity.sign(signed)))


def _too_often(wait_seconds: float) -> web.Response:
    error = RateLimitedError("more audits than any validator needs", hint=f"the next is taken in {wait_seconds:.0f} s")
    return error_response(error, headers={"Retry-After": str(math.ceil(wait_seconds))})


def _entry(
    asked: PieceLeaf, found: Mapping[PieceLeaf, ProvenLeaf | None], releases: Mapping[Root, bytes]
) -> ResponseEntry:
    """Return the answer for one leaf: the leaf, else the release of its piece, else what we know."""
    leaf = found.get(asked)
    if leaf is not None:
        return ResponseEntry(Status.OK, leaf.data, leaf.path)
    if asked.root in releases:
        return ResponseEntry(Status.RELEASED, releases[asked.root])
    return ResponseEntry(Status.LOST if asked in found else Status.NEVER_RECEIVED)
