"""Which leaves a miner is asked for, and when: drawn, never chosen (PROTOCOL §5.2).

Owns the derivations from an epoch's secret and a beacon round to an audit request. The secret is the
validator's (hippy.validator.placement derives it), the beacon the chain's, the pieces hippy.proofs.inventory's.

A validator knows its secret but not the beacon round to come, a miner the beacon but not the secret; so before
the round nobody knows the leaves, and after the secret is published everybody can draw them again.

Invariants: pure functions of their arguments; secrets, tokens, beacons and keys have 32 bytes, since they are hashed
in a row; a miner's inventory is the one of the epoch's beginning, since
whoever could change it after the round could draw again.

Example::

    asked_at = batch_round(secret, miner, 0, first_round, rounds, margin)
    request = draw_request(secret, beacon(asked_at), validator=validator, miner=miner, epoch=7, batch=0,
                           beacon_round=asked_at, attempt=0, inventory=inventory, count=64)
"""

from __future__ import annotations

from typing import Final

from hippy.errors import ProtocolError, UsageError
from hippy.hashing import HASH_BYTES, dk, keyed, u32, u64, xof
from hippy.ids import PublicKey
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import ENTRIES_MAX, AuditRequest, check_width

_COMMIT_KEY: Final = dk("seed-commit")
_WHEN_KEY: Final = dk("when")
_TOKEN_KEY: Final = dk("token")
_NUMBER_BYTES: Final = 16
"""An entry is drawn from 128 bits: taken modulo any number of leaves there is, no leaf is favoured measurably."""


def seed_commit(epoch_secret: bytes) -> bytes:
    """Return what is published before the epoch begins: H(dk(seed-commit); s_e)."""
    assert len(epoch_secret) == HASH_BYTES
    return keyed(_COMMIT_KEY, epoch_secret)


def batch_round(epoch_secret: bytes, miner: PublicKey, batch: int, first_round: int, rounds: int, margin: int) -> int:
    """Return the beacon round at which a batch is sent, from ``first_round`` + 1 to ``first_round + rounds - margin``.

    The epoch's rounds are ``first_round`` to ``first_round + rounds - 1``: nothing is sent in the first one, nor in the
    last ``margin`` - 1, so that answers are in before it ends.

    Raises UsageError unless 1 <= margin < rounds, ProtocolError for a batch that does not fit 32 bits.
    """
    if not 1 <= margin < rounds:
        raise UsageError(f"a margin of {margin} rounds does not fit an epoch of {rounds}", hint="use 1 to rounds - 1")
    drawn = int.from_bytes(keyed(_WHEN_KEY, _batch_of(epoch_secret, miner, batch))[:8], "little")
    return first_round + 1 + drawn % (rounds - margin)


def batch_token(epoch_secret: bytes, miner: PublicKey, batch: int) -> bytes:
    """Return the token of a batch: H(dk(token); s_e ‖ miner ‖ u32 batch).

    Raises ProtocolError for a batch that does not fit 32 bits.
    """
    return keyed(_TOKEN_KEY, _batch_of(epoch_secret, miner, batch))


def challenge_seed(
    token: bytes, beacon: bytes, validator: PublicKey, miner: PublicKey, epoch: int, batch: int
) -> bytes:
    """Return the seed of a batch: H(token; beacon ‖ validator ‖ miner ‖ u64 epoch ‖ u32 batch).

    Raises ProtocolError for an epoch or a batch that does not fit its field.
    """
    assert all(len(each) == HASH_BYTES for each in (token, beacon, validator, miner))
    check_width(epoch, 64, "the epoch of a batch")
    check_width(batch, 32, "the number of a batch")
    return keyed(token, beacon + validator + miner + u64(epoch) + u32(batch))


def draw(seed: bytes, count: int, total_leaves: int) -> tuple[int, ...]:
    """Return ``count`` numbers of leaves; they may repeat.

    Raises UsageError if there are no leaves to draw from.
    """
    if total_leaves < 1:
        raise UsageError("an audit needs a leaf to ask for", hint="a miner that owes nothing is not asked")
    stream = xof(seed, count * _NUMBER_BYTES)
    places = range(0, len(stream), _NUMBER_BYTES)
    return tuple(int.from_bytes(stream[at : at + _NUMBER_BYTES], "little") % total_leaves for at in places)


def draw_request(
    epoch_secret: bytes,
    beacon: bytes,
    *,
    validator: PublicKey,
    miner: PublicKey,
    epoch: int,
    batch: int,
    beacon_round: int,
    attempt: int,
    inventory: Inventory,
    count: int,
) -> AuditRequest:
    """Return the request of a batch; every attempt asks for the same leaves.

    ``beacon`` is the 32 bytes of ``beacon_round``, the inventory the miner's when the epoch began.

    Raises UsageError if the inventory is empty, ProtocolError for a number that does not fit its field and for other
    than 1 … 64 entries.
    """
    if not 1 <= count <= ENTRIES_MAX:  # before as many are drawn
        raise ProtocolError(f"an audit asks for 1 to {ENTRIES_MAX} leaves, not {count}")
    token = batch_token(epoch_secret, miner, batch)
    seed = challenge_seed(token, beacon, validator, miner, epoch, batch)
    entries = tuple(map(inventory.locate, draw(seed, count, inventory.total_leaves)))
    return AuditRequest(epoch, batch, beacon_round, attempt, token, entries)


def _batch_of(epoch_secret: bytes, miner: PublicKey, batch: int) -> bytes:
    assert len(epoch_secret) == HASH_BYTES
    assert len(miner) == HASH_BYTES
    check_width(batch, 32, "the number of a batch")
    return epoch_secret + miner + u32(batch)
