"""One prepared segment goes to its miners (docs/PROTOCOL.md §3.1-§3.3).

Allocate, send every piece to the miner its ticket names, check each receipt, have failed pieces placed anew,
commit. Each piece is one task with its own attempts; how many bytes are on their way at once is bounded for all
segments together. Reading and preparing segments is hippy.client.put's.

Invariants: a segment is committed with at least the receipts its code demands (``Profile.commit_min``), each checked
against the piece it is for; a miner that says no with its signature is replaced, one that says nothing is tried
again before the validator is asked for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hippy.client.buffers import SENDING_BYTES_MAX, ByteBudget
from hippy.client.prepare import PreparedSegment
from hippy.client.progress import Progress
from hippy.client.session import Session
from hippy.client.tasks import task_group
from hippy.erasure.geometry import Profile
from hippy.errors import (
    AuthError,
    ConflictError,
    HippyError,
    IntegrityError,
    ProtocolError,
    TemporaryError,
)
from hippy.ids import PublicKey
from hippy.points import reached
from hippy.transport.client import Answer, Call
from hippy.wire.canonical import check_time
from hippy.wire.segment import FailedPiece, Holding, SegmentCommit, TicketList
from hippy.wire.ticket import REFUSAL_HEADER, TICKET_HEADER, Receipt, Refusal, Ticket, TicketProof, prove_tickets

SENDING_PIECES_MAX: Final = 64
PIECE_ATTEMPTS: Final = 4
"""Sends of one piece: to its first miner and to the three others it may be placed with (PROTOCOL §3.1)."""

RETRY_SECONDS: Final = 0.3
UPLOAD_SECONDS: Final = 3600
"""How long a segment may take from allocation to the last piece; far more than 4 MiB at the slowest speed."""

REFUSAL_BYTES_MAX: Final = 4096


@dataclass(slots=True)
class _Refused(Exception):  # noqa: N818 - carried between two functions of this module, never raised to a caller
    """A miner did not take a piece; ``refusal`` is its signed no, if it gave one."""

    error: HippyError
    refusal: Refusal | None = None


@dataclass(slots=True)
class _Upload:
    """A segment on its way: until when, which miner each piece is for, and whose turn it is to have one moved."""

    segment: PreparedSegment
    upload_by: int
    miners: dict[int, PublicKey] = field(default_factory=dict)
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Pieces are moved one by one, for the draw of one depends on where the others are."""


class SegmentUploader:
    """Uploads segments of one profile; several at once share its budget of bytes on their way."""

    def __init__(self, session: Session, profile: Profile, progress: Progress) -> None:
        self._session = session
        self._profile = profile
        self._progress = progress
        self._sending = ByteBudget(SENDING_BYTES_MAX, SENDING_PIECES_MAX)

    async def upload(self, segment: PreparedSegment) -> int:
        """Store and commit a segment; return how many of its n pieces found a miner.

        Raises TemporaryError naming how many of its pieces were stored when they are too few, QuotaError and
        whatever else the validator refuses with, IntegrityError or ProtocolError when its tickets are not what was
        asked for.
        """
        upload = _Upload(segment, int(self._session.clock.now()) + UPLOAD_SECONDS)
        answer = await self._session.api.allocate([segment.spec], upload.upload_by)
        proofs = self._check_tickets(answer, upload, range(segment.spec.n))
        reached("client.allocated")
        async with task_group() as group:
            tasks = [group.create_task(self._store(upload, proof)) for proof in proofs]
        outcomes = [task.result() for task in tasks]
        holdings = [outcome for outcome in outcomes if isinstance(outcome, Holding)]
        if len(holdings) < self._profile.commit_min:
            raise self._too_few(segment, len(holdings), [o for o in outcomes if isinstance(o, HippyError)])
        reached("client.pieces")
        await self._session.api.commit(
            SegmentCommit(
                segment_id=segment.segment_id,
                holdings=tuple(holdings),
                envelopes=(self._session.seal_envelope(segment.segment_id, segment.seal_key),),
            )
        )
        reached("client.committed")
        return len(holdings)

    def _too_few(self, segment: PreparedSegment, stored: int, errors: list[HippyError]) -> TemporaryError:
        why = f"; one reason: {errors[0].message}" if errors else ""
        return TemporaryError(
            f"segment {segment.segment_id.hex()[:8]}…: only {stored} of {segment.spec.n} pieces were stored, "
            f"{self._profile.commit_min} are needed{why}",
            hint="it was not committed: put it again when more miners answer, or use a smaller code (--ec k/n)",
        )

    async def _store(self, upload: _Upload, proof: TicketProof) -> Holding | HippyError:
        """Bring one piece to a miner, whichever it will be; returns why it could not be done.

        Raises what shows that the validator is not to be believed.
        """
        for attempt in range(PIECE_ATTEMPTS):
            miner = proof.ticket.miner
            try:
                holding = await self._send(upload.segment, proof)
            except _Refused as refused:
                self._session.miners.failed(miner)
                if attempt == PIECE_ATTEMPTS - 1:
                    return refused.error
                try:
                    proof = await self._other_miner(upload, proof, refused)
                except (AuthError, IntegrityError, ProtocolError):
                    raise
                except HippyError as error:
                    return TemporaryError(f"{refused.error.message}; {error.message}")
            else:
                self._session.miners.succeeded(miner)
                reached("client.piece")
                return holding
        raise AssertionError("the last attempt returns")

    async def _other_miner(self, upload: _Upload, proof: TicketProof, refused: _Refused) -> TicketProof:
        """Return a ticket for another miner, or the same one when the validator says that it is there."""
        failed = FailedPiece(
            index=proof.ticket.index, ticket_id=proof.ticket.id(self._session.network), refusal=refused.refusal
        )
        try:
            async with upload.moving:
                answer = await self._session.api.reallocate(upload.segment.segment_id, [failed])
                (moved,) = self._check_tickets(answer, upload, [failed.index])
        except ConflictError:
            await self._session.clock.sleep(RETRY_SECONDS)
            return proof
        self._progress.note(f"piece {failed.index} goes to another miner: {refused.error.message}")
        return moved

    async def _send(self, segment: PreparedSegment, proof: TicketProof) -> Holding:
        """Send one piece and check its receipt; raises _Refused for whatever goes wrong with its miner."""
        ticket = proof.ticket
        call = Call(
            "PUT",
            f"/v1/pieces/{ticket.root.hex()}",
            segment.pieces[ticket.index],
            headers={TICKET_HEADER: proof.encode().decode("ascii")},
            body_signed=False,
        )
        try:
            peer = await self._session.miners.greet(ticket.miner, ticket.endpoint)
            await self._sending.acquire(ticket.piece_length)
            try:
                answer = await self._session.http.request(peer, call)
            finally:
                await self._sending.release(ticket.piece_length)
            return self._holding(ticket, answer)
        except HippyError as error:
            raise _Refused(error) from None

    def _holding(self, ticket: Ticket, answer: Answer) -> Holding:
        error = answer.error()
        if error is not None:
            raise _Refused(error, self._refusal(ticket, answer))
        receipt = Receipt.parse(answer.body)
        ticket_id = ticket.id(self._session.network)
        promised = (receipt.ticket_id, receipt.root, receipt.piece_length, receipt.miner)
        if promised != (ticket_id, ticket.root, ticket.piece_length, ticket.miner):
            raise ProtocolError("a miner's receipt is for something else")
        check_time(receipt.time, self._session.clock.now())
        receipt.check_signature(ticket.miner, self._session.network)
        return Holding(
            index=ticket.index,
            ticket_id=ticket_id,
            miner=ticket.miner,
            time=receipt.time,
            signature=receipt.signature,
        )

    def _refusal(self, ticket: Ticket, answer: Answer) -> Refusal | None:
        """Return the miner's signed no, if there is one that the validator will accept."""
        raw = answer.headers.get(REFUSAL_HEADER)
        if raw is None:
            return None
        try:
            refusal = Refusal.parse(raw.encode("utf-8", "replace"), limit=REFUSAL_BYTES_MAX)
            refusal.check_signature(ticket.miner, self._session.network)
        except (AuthError, ProtocolError):
            return None
        return refusal if refusal.ticket_id == ticket.id(self._session.network) else None

    def _check_tickets(self, answer: TicketList, upload: _Upload, indices: Sequence[int]) -> list[TicketProof]:
        """Return the tickets as miners want to see them, and note who has which piece.

        Raises ProtocolError unless they are for these pieces on these terms, IntegrityError when a miner would have
        two pieces, AuthError unless the grant covers them.
        """
        session, segment, spec = self._session, upload.segment, upload.segment.spec
        wanted = [(index, spec.roots[index]) for index in indices]
        if [(ticket.index, ticket.root) for ticket in answer.tickets] != wanted:
            raise ProtocolError("the validator's tickets are not for the pieces asked about")
        about = (session.network, session.netuid, session.api.peer.hotkey, session.keys.account, segment.segment_id)
        for ticket in answer.tickets:
            said = (ticket.network, ticket.netuid, ticket.validator, ticket.account, ticket.segment_id)
            if said != about or ticket.piece_length != spec.piece_length:
                raise ProtocolError("a ticket names another network, account or segment")
            if (ticket.upload_by, ticket.keep_until) != (upload.upload_by, None):
                raise ProtocolError("a ticket is good for another time than was asked for")
        upload.miners.update({ticket.index: ticket.miner for ticket in answer.tickets})
        if len(set(upload.miners.values())) != len(upload.miners):
            raise IntegrityError("the validator placed two pieces of a segment with one miner")
        proofs = prove_tickets(answer.tickets, answer.grant, session.network)
        proofs[0].check(session.network)
        return proofs
