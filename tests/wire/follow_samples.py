"""One message of every type about several validators, with every optional field present."""

from __future__ import annotations

from typing import Final

from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import MessageId, NetworkId, PublicKey
from hippy.wire.canonical import Message
from hippy.wire.copies import FollowerAck
from hippy.wire.follow import Equivocation, FollowPage, FollowRequest, ManifestPlace
from hippy.wire.home import Fence, FenceRequest, HomeAnswer, HomeChange, HomeRequest
from hippy.wire.log import LogEntry, LogHead
from hippy.wire.node import EncryptionKey
from hippy.wire.validators import ValidatorEntry, Validators

OTHER: Final = PublicKey(b"w" * 32)
"""Nobody of the samples, who would be taken for a signer."""

HEAD: Final = MessageId(b"h" * 32)


def change(account: Identity, time: int, network: NetworkId) -> HomeChange:
    """Return an account's move from one home to another."""
    unsigned = HomeChange(
        account=account.public_key, term=2, old=OTHER, new=PublicKey(b"z" * 32), seq=9, head=HEAD, time=time
    )
    return unsigned.signed(account, network)


def ack(follower: Identity, time: int, network: NetworkId) -> FollowerAck:
    """Return a follower's word."""
    unsigned = FollowerAck(follower=follower.public_key, home=OTHER, netuid=7, term=1, seq=9, head=HEAD, time=time)
    return unsigned.signed(follower, network)


def follow_messages(
    change: HomeChange, ack: FollowerAck, entry: LogEntry, head: LogHead, key: EncryptionKey, validator: Identity
) -> list[Message]:
    """Return the messages."""
    home, network, time = head.home, NetworkId(b"N" * 32), change.time
    place = ManifestPlace(entry=0, length=8)
    fence = Fence(
        validator=validator.public_key, account=OTHER, term=2, old=PublicKey(b"z" * 32), seq=9, head=HEAD, time=time
    )
    listed = ValidatorEntry(
        uid=1,
        hotkey=OTHER,
        endpoint=Endpoint("127.0.0.1", 4000),
        state="live",
        seen_time=time,
        followed_seq=9,
        encryption_key=key,
    )
    return [
        change,
        HomeRequest(request_id=b"i" * 16, account=change.account, change=change),
        HomeAnswer(segments=1, rows=2, state="moving"),
        FenceRequest(change=change),
        fence.signed(validator, network),
        ack,
        FollowRequest(home=home, after=9, wait_seconds=2, ack=ack),
        FollowPage(home=home, newest_seq=9, entries=(entry,), head=head, manifests=(place,)),
        place,
        Equivocation(home=home, ours=head, theirs=head, record=HEAD, found_time=time),
        listed,
        Validators(validator=validator.public_key, netuid=7, time=time, validators=(listed,)).signed(
            validator, network
        ),
    ]
