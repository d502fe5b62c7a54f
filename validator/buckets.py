"""Buckets that an account made, so that they are listed while they are empty (PROTOCOL §3.4).

Objects need no bucket: one that objects are in is listed anyway. :func:`check_bucket` is pure (a signature),
:func:`write_bucket` runs in the transaction.

Invariant: an account has at most BUCKETS_MADE_MAX made buckets, so that a listing, and what they take, has an end.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from hippy.errors import AuthError, ConflictError, NotFoundError, ProtocolError, QuotaError
from hippy.ids import PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.log import Home, append
from hippy.validator.tables import BUCKET, LIVE, name_key
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.object import BucketAnswer, BucketRow

BUCKETS_MADE_MAX: Final = 1_000
"""A tenth of a listing; people have a handful."""


def check_bucket(row: BucketRow, account: PublicKey, network: bytes, now: int) -> None:
    """Check all of a bucket row that needs no state.

    Raises AuthError for another account's or a bad signature, ProtocolError for one from the future or a name of
    impossible length.
    """
    if row.account != account:
        raise AuthError("the bucket row is another account's")
    if row.time > now + CLOCK_TOLERANCE_SECONDS:
        raise ProtocolError("the bucket row is from the future", hint="check both clocks (NTP)")
    name_key(account, row.bucket, ())
    row.check_signature(account, network)


def write_bucket(txn: Transaction, home: Home, row: BucketRow, now: int) -> BucketAnswer:
    """Make a bucket, or unmake an empty one; return whether there was one before.

    Raises NotFoundError when a bucket to delete was never made, ConflictError when objects are in it, QuotaError when
    the account has made too many.
    """
    key = name_key(row.account, row.bucket, ())
    is_made, is_used = txn.get(BUCKET + key) is not None, next(txn.scan(LIVE + key), None) is not None
    if row.action == "delete":
        _check_deletion(is_made=is_made, is_used=is_used)
    elif not is_made and sum(1 for _ in islice(txn.scan(BUCKET + row.account), BUCKETS_MADE_MAX)) == BUCKETS_MADE_MAX:
        raise QuotaError(f"an account makes at most {BUCKETS_MADE_MAX} buckets", hint="delete an empty one")
    if is_made == (row.action == "delete"):
        fold_bucket(txn, row)
        append(txn, home, [row], now)
    return BucketAnswer(copies=1, existed=int(is_made or is_used))


def fold_bucket(txn: Transaction, row: BucketRow) -> None:
    """Take over a bucket that is logged as made or unmade.

    Raises ProtocolError for a name of impossible length.
    """
    key = BUCKET + name_key(row.account, row.bucket, ())
    if row.action == "delete":
        txn.delete(key)
    else:
        txn.put(key, row.encode())


def _check_deletion(*, is_made: bool, is_used: bool) -> None:
    if is_used:
        raise ConflictError("objects are in the bucket", hint="remove them first")
    if not is_made:
        raise NotFoundError("no such bucket was made")


def made_buckets(reader: Reader, account: PublicKey) -> list[bytes]:
    """Return the encrypted names of the buckets that an account made, in the order of listings."""
    return [key[len(BUCKET) + len(account) + 1 :] for key, _ in reader.scan(BUCKET + account)]
