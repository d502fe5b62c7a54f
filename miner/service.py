"""What a miner may take and what it answers (PROTOCOL §3.2): the rules, apart from HTTP and from disks.

:func:`check_ticket` is the pure part: values in, an error out. :class:`MinerService` adds what has to be asked
for: the chain's permits, the store's receipts and space.

Who is to blame: a ticket that grants nothing here and now (another network, miner or account, too late, no
permit, no valid grant) is ``auth``; a request that contradicts its own ticket (path, length) is ``protocol``;
our own shortage is ``no_space``, ``rate_limited`` or ``temporary`` and comes with a signed refusal, for which a
validator allots another miner (§3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import AuthError, HippyError, IntegrityError, NoSpaceError, ProtocolError
from hippy.identity import Identity, ss58_encode
from hippy.ids import MessageId, NetworkId, PublicKey, Root
from hippy.miner.bounds import Budget, Hold
from hippy.miner.obligations import Obligation
from hippy.miner.permits import Permits
from hippy.miner.store import PieceStore
from hippy.proofs.tree import piece_root
from hippy.wire.ticket import Receipt, Refusal, Ticket, TicketProof

if TYPE_CHECKING:
    from typing_extensions import Buffer

RefusalCode = Literal["no_space", "rate_limited", "temporary"]
REFUSAL_CODES: Final[dict[str, RefusalCode]] = {
    "no_space": "no_space",
    "rate_limited": "rate_limited",
    "temporary": "temporary",
}


@dataclass(frozen=True, slots=True)
class Here:
    """Which miner this is, on which subnet of which chain."""

    network: NetworkId
    netuid: int
    miner: PublicKey


@dataclass(frozen=True, slots=True)
class Upload:
    """A request to store a piece, before its body."""

    root: Root
    content_length: int | None
    sender: PublicKey
    proof: TicketProof


@dataclass(frozen=True, slots=True)
class Admission:
    """A ticket whose piece is wanted; ``hold`` is the memory and disk space set aside for it."""

    ticket: Ticket
    ticket_id: MessageId
    hold: Hold


def check_ticket(upload: Upload, here: Here, now: float) -> None:
    """Check everything about an upload that needs neither chain, signature nor disk, in PROTOCOL §3.2's order.

    Raises AuthError when the ticket grants this sender nothing here and now, ProtocolError when the request
    contradicts it.
    """
    ticket = upload.proof.ticket
    check_granted(ticket, here, now)
    if upload.root != ticket.root:
        raise ProtocolError(f"the path names piece {upload.root.hex()}, its ticket {ticket.root.hex()}")
    if upload.content_length != ticket.piece_length:
        raise ProtocolError(f"the piece has {ticket.piece_length} bytes, Content-Length is {upload.content_length}")
    if upload.sender != ticket.account:
        raise AuthError(f"the ticket is for another account than {ss58_encode(upload.sender)}")


def check_granted(ticket: Ticket, here: Here, now: float) -> None:
    """Check that a ticket is for this miner and this time, whoever shows it.

    Raises AuthError when it is not.
    """
    _check_place(ticket, here)
    if now > ticket.upload_by:
        raise AuthError(f"the ticket expired {now - ticket.upload_by:.0f} s ago", hint="allocate the segment again")
    if ticket.keep_until is not None and now > ticket.keep_until:
        raise AuthError("the piece was owed only until a time that is past")


def _check_place(ticket: Ticket, here: Here) -> None:
    if ticket.network != here.network:
        raise AuthError(f"the ticket is for network {ticket.network.hex()}, this miner is on {here.network.hex()}")
    if ticket.netuid != here.netuid:
        raise AuthError(f"the ticket is for subnet {ticket.netuid}, this miner is on {here.netuid}")
    if ticket.miner != here.miner:
        raise AuthError(f"the ticket is for miner {ss58_encode(ticket.miner)}, this is {ss58_encode(here.miner)}")


class MinerService:
    """One miner's decisions."""

    def __init__(
        self,
        identity: Identity,
        chain: Chain,
        store: PieceStore,
        bodies: Budget,
        clock: Clock,
        *,
        validator_stake_min_rao: int = 1,
    ) -> None:
        self._identity = identity
        self.here = Here(chain.network, chain.netuid, identity.public_key)
        """Which miner this is."""
        self.permits = Permits(chain, clock, stake_min_rao=validator_stake_min_rao)
        """Whose tickets and audits count; the chain is asked once for both."""
        self._store = store
        self._bodies = bodies
        self._clock = clock

    async def admit(self, upload: Upload) -> Admission | Receipt:
        """Return what an upload needs to go on, or the receipt when its ticket was answered before.

        A ticket whose piece was lost since is no such ticket: its body is wanted again. The bytes of a piece that is
        here, or was lost, or is trash, count already, whoever's ticket names it: they fit a miner that is full.
        Raises AuthError, ProtocolError (see :func:`check_ticket`), NoSpaceError, RateLimitedError and
        TemporaryError; nothing is held then.
        """
        check_ticket(upload, self.here, self._clock.now())
        ticket = upload.proof.ticket
        await self.check_permit(ticket.validator)
        ticket_id = upload.proof.check(self.here.network)
        return await self.admit_ticket(ticket, ticket_id, lambda: self._bodies.take(ticket.piece_length))

    async def check_permit(self, validator: PublicKey) -> None:
        """Raises AuthError for a validator whose tickets do not count, TemporaryError when nobody can say."""
        if not await self.permits.has(validator):
            raise AuthError(
                f"{ss58_encode(validator)} may not issue tickets on this subnet: no permit, or too little stake"
            )

    async def admit_ticket(
        self, ticket: Ticket, ticket_id: MessageId, take_memory: Callable[[], Hold]
    ) -> Admission | Receipt:
        """Return what a ticket that is known to be good needs, memory and disk, or the receipt it was answered with.

        Raises NoSpaceError, RateLimitedError and TemporaryError; nothing is held then.
        """
        known = await self._store.receipt(ticket.root, ticket_id)
        if known is not None and not await self._store.losses.knows(ticket.root):
            return known
        if known is None and self._store.drains.is_on:
            raise NoSpaceError("this miner is leaving and takes nothing new", hint="ask another miner")
        return Admission(ticket, ticket_id, await self._set_aside(ticket, take_memory))

    async def keep(self, admission: Admission, data: Buffer, hashes: Sequence[bytes]) -> Receipt:
        """Make an admitted piece durable and return its receipt.

        Raises IntegrityError, keeping nothing, when the bytes are not the ticket's, NoSpaceError, TemporaryError.
        """
        ticket = admission.ticket
        if piece_root(hashes, ticket.piece_length) != ticket.root:
            raise IntegrityError(f"the body is not piece {ticket.root.hex()}")
        obligation = Obligation(ticket=ticket, receipt=self._receipt(admission))
        return await self._store.add(obligation, data, hashes)

    def refusal(self, ticket: Ticket, error: HippyError) -> Refusal | None:
        """Return our signed no to a ticket, None when the error is not our shortage."""
        code = REFUSAL_CODES.get(error.code)
        if code is None:
            return None
        refusal = Refusal(
            ticket_id=ticket.id(self.here.network),
            miner=self.here.miner,
            code=code,
            time=int(self._clock.now()),
        )
        return refusal.signed(self._identity, self.here.network)

    async def _set_aside(self, ticket: Ticket, take_memory: Callable[[], Hold]) -> Hold:
        memory = take_memory()
        try:
            room = await self._store.reserve(ticket.piece_length, ticket.root)
        except BaseException:
            memory.release()
            raise
        return Hold(memory.release, room.release)

    def _receipt(self, admission: Admission) -> Receipt:
        receipt = Receipt(
            ticket_id=admission.ticket_id,
            root=admission.ticket.root,
            piece_length=admission.ticket.piece_length,
            miner=self.here.miner,
            time=int(self._clock.now()),
        )
        return receipt.signed(self._identity, self.here.network)
