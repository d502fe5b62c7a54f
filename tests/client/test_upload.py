"""Re-allocations of one segment: one at a time, whatever fails at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from hippy.client.keys import AccountKeys
from hippy.client.prepare import PreparedSegment, prepare_segment
from hippy.client.progress import SilentProgress
from hippy.client.session import Session
from hippy.client.upload import SegmentUploader, _Refused
from hippy.endpoint import Endpoint
from hippy.erasure.codec import Codec
from hippy.erasure.geometry import parse_profile
from hippy.errors import TemporaryError
from hippy.identity import Identity
from hippy.ids import NetworkId, PublicKey, SegmentId
from hippy.testing.clock import VirtualClock
from hippy.wire.segment import FailedPiece, Holding, SealEnvelope, SegmentCommit, SegmentSpec, TicketList
from hippy.wire.ticket import Ticket, TicketGrant, TicketProof, tickets_root

NETWORK, NETUID, K, N = NetworkId(b"n" * 32), 7, 2, 12
KEYS = AccountKeys.of_seed(b"\x01" * 32)
VALIDATOR = Identity.from_seed(b"v" * 32)


def segment() -> PreparedSegment:
    buffer = memoryview(bytearray(random.Random(1).randbytes(N * 1000)))
    return prepare_segment(buffer, K * 1000, Codec(K, N), KEYS, random.Random(2).randbytes)


class Api:
    """Places piece i with miner i, then with the next that nobody has; counts who asks at one time."""

    def __init__(self, wanted: PreparedSegment) -> None:
        self.peer = SimpleNamespace(hotkey=VALIDATOR.public_key)
        self.committed: SegmentCommit | None = None
        self.most_at_once = 0
        self.moved: list[int] = []
        self._at_once = 0
        self._wanted = wanted
        self._upload_by = 0

    async def allocate(self, specs: Sequence[SegmentSpec], upload_by: int) -> TicketList:
        self._upload_by = upload_by
        return self._granted({index: index for index in range(N)})

    async def reallocate(self, segment_id: SegmentId, pieces: Sequence[FailedPiece]) -> TicketList:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        self._at_once -= 1
        self.moved += [piece.index for piece in pieces]
        return self._granted({piece.index: N + len(self.moved) for piece in pieces})

    async def commit(self, committed: SegmentCommit) -> None:
        self.committed = committed

    def _granted(self, miners: dict[int, int]) -> TicketList:
        spec = self._wanted.spec
        tickets = [
            Ticket(
                serial=1,
                network=NETWORK,
                netuid=NETUID,
                validator=VALIDATOR.public_key,
                term=1,
                account=KEYS.account,
                segment_id=self._wanted.segment_id,
                index=index,
                root=spec.roots[index],
                piece_length=spec.piece_length,
                miner=PublicKey(bytes([miner + 1]) * 32),
                endpoint=Endpoint("127.0.0.1", 1),
                pay_class="paid",
                upload_by=self._upload_by,
            )
            for index, miner in miners.items()
        ]
        grant = TicketGrant(
            validator=VALIDATOR.public_key,
            tickets_root=tickets_root(tickets, NETWORK),
            ticket_count=len(tickets),
            time=1,
        )
        return TicketList(tickets=tuple(tickets), grant=grant.signed(VALIDATOR, NETWORK))


async def test_pieces_that_fail_together_are_moved_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(uploader: SegmentUploader, sent: PreparedSegment, proof: TicketProof) -> Holding:
        ticket = proof.ticket
        if ticket.index < 5 and ticket.miner[0] <= N:  # the first miners of five pieces are full
            raise _Refused(TemporaryError("full"))
        return Holding(
            index=ticket.index, ticket_id=ticket.id(NETWORK), miner=ticket.miner, time=1, signature=bytes(64)
        )

    monkeypatch.setattr(SegmentUploader, "_send", send)
    wanted = segment()
    api = Api(wanted)
    session = SimpleNamespace(
        api=api,
        network=NETWORK,
        netuid=NETUID,
        keys=KEYS,
        clock=VirtualClock(),
        miners=SimpleNamespace(failed=lambda _: None, succeeded=lambda _: None),
        seal_envelope=lambda *_: SealEnvelope(validator=VALIDATOR.public_key, key_id=1, ciphertext=bytes(80)),
    )
    uploader = SegmentUploader(cast("Session", session), parse_profile(f"{K}/{N}"), SilentProgress())
    await uploader.upload(wanted)
    assert api.most_at_once == 1
    assert sorted(api.moved) == [0, 1, 2, 3, 4]
    assert api.committed is not None
    assert len({holding.miner for holding in api.committed.holdings}) == N
