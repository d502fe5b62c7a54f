"""One question to a miner: send a batch, wait for the answer, or look whether the miner is there at all.

Owns the wait and what counts as no answer (PROTOCOL §5.5); what an answer is worth is hippy.proofs.verify's, what no
answer comes to the engine's (hippy.validator.audit).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError, IntegrityError, ProtocolError
from hippy.identity import verify
from hippy.ids import PublicKey, Root
from hippy.proofs.request import AuditRequest, Scope, encode_request
from hippy.proofs.response import RELEASE_BYTES_MAX
from hippy.proofs.tree import LEAF_BYTES
from hippy.proofs.verify import Verified, verify_response
from hippy.transport.client import Call, Http, Peer
from hippy.validator.audit.rules import AuditRules
from hippy.validator.directory import MinerDirectory

log = logging.getLogger("hippy.validator")

ANSWER_BYTES_MAX: Final = 1_114_500
"""64 leaves with 32 siblings each (PROTOCOL §9)."""

LIVENESS_CHECKS: Final = 3
"""Handshakes started at once when a batch stays unanswered."""

ASKING_MAX: Final = 32
"""Batches under way at once: 32 MB of answers."""

ROUND_TRIP_SECONDS_MAX: Final = 1.0
"""A handshake that takes longer was stretched; it must not earn more time for answers."""

PER_MINER_MAX: Final = 2
"""Batches of one miner under way at once; it answers four, and is not to be blamed for what we send at once when it is
back from an outage."""

_PATH_BYTES: Final = 1_024
assert LEAF_BYTES + _PATH_BYTES > RELEASE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing that counts came in time; ``was_there`` is whether the miner showed itself around the asking."""

    was_there: bool


class Asker:
    """Asks miners."""

    def __init__(self, http: Http, directory: MinerDirectory, clock: Clock, rng: Random, rules: AuditRules) -> None:
        """``http`` signs as the validator."""
        self._http = http
        self._directory = directory
        self._clock = clock
        self._rng = rng
        self._rules = rules
        self._slots = asyncio.Semaphore(ASKING_MAX)
        self._turns: defaultdict[PublicKey, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PER_MINER_MAX))

    async def ask(
        self, peer: Peer | None, request: AuditRequest, scope: Scope, lengths: Mapping[Root, int]
    ) -> Verified | NoAnswer:
        """Return the miner's signed answer, judged, or that there is none; None is a miner without an endpoint.

        An endpoint is used only after a handshake. Raises UsageError when ``lengths`` does not fit the request.
        """
        if peer is None:
            return NoAnswer(was_there=False)
        async with self._turns[peer.hotkey], self._slots:  # in this order: who waits for its turn takes no slot
            asked_time = self._clock.now()
            answer = await self._ask(peer, request, scope, lengths)
        return answer or NoAnswer(was_there=await self._was_there(peer, asked_time))

    async def _ask(
        self, peer: Peer, request: AuditRequest, scope: Scope, lengths: Mapping[Root, int]
    ) -> Verified | None:
        if self._directory.seen_time(peer) is None and not await self._directory.greet(peer):
            return None
        expected_bytes = len(request.entries) * (LEAF_BYTES + _PATH_BYTES)
        call = Call(
            "POST",
            "/v1/audit",
            body=encode_request(request),
            answer_bytes_max=ANSWER_BYTES_MAX,
            deadline_seconds=self._rules.deadline_seconds(
                min(ROUND_TRIP_SECONDS_MAX, self._directory.round_trip_seconds(peer)), expected_bytes
            ),
        )
        try:
            body = await self._http.bytes(peer, call)
        except HippyError as error:
            log.info("batch %d of %s: no answer: %s", request.batch, peer, error)
            return None
        try:
            return await asyncio.to_thread(verify_response, request, scope, lengths, body, verify)
        except (IntegrityError, ProtocolError) as error:
            log.warning("batch %d of %s: no answer that counts: %s", request.batch, peer, error)
            return None

    async def _was_there(self, peer: Peer, asked_time: float) -> bool:
        """Look three times at once whether the miner is there, and then now and again for a while.

        Who unplugs for a moment at a question that it cannot answer is seen when it is back.
        """
        found = await asyncio.gather(*(self._directory.greet(peer) for _ in range(LIVENESS_CHECKS)))
        seen = self._directory.seen_time(peer)
        if any(found) or (seen is not None and abs(seen - asked_time) <= self._rules.there_seconds):
            return True
        began, rules = self._clock.now(), self._rules
        for moment in sorted(self._rng.uniform(0, rules.back_seconds) for _ in range(rules.back_looks)):
            await self._clock.sleep(began + moment - self._clock.now())
            if await self._directory.greet(peer):
                return True
        return False
