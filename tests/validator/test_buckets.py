"""Buckets that are made are listed while they are empty, and only empty ones that were made can be deleted."""

from __future__ import annotations

from typing import Literal

import pytest

from hippy.errors import AuthError, ConflictError, HippyError, NotFoundError, ProtocolError, QuotaError
from hippy.identity import Identity
from hippy.kv import Database
from hippy.validator import buckets
from hippy.validator.buckets import check_bucket, write_bucket
from hippy.validator.listing import list_buckets
from hippy.validator.log import read_page, scan_log, verify_chain
from hippy.wire.object import BucketRow
from tests.validator.releasing import write
from tests.validator.world import ACCOUNT, HOME, NETWORK, NOW, STRANGER, component, row


def bucket_row(
    name: str = "empty",
    action: Literal["create", "delete"] = "create",
    *,
    signer: Identity = ACCOUNT,
    time: int = NOW,
    bucket: bytes = b"",
) -> BucketRow:
    unsigned = BucketRow(account=signer.public_key, bucket=bucket or component(name), action=action, time=time)
    return unsigned.signed(signer, NETWORK)


async def wrote(database: Database, one: BucketRow) -> int:
    """Write a bucket row and return whether a bucket was there before."""
    check_bucket(one, ACCOUNT.public_key, NETWORK, NOW)
    return (await database.transact(lambda txn: write_bucket(txn, HOME, one, NOW))).existed


async def listed(database: Database, account: Identity = ACCOUNT) -> list[bytes]:
    return list(await database.read(lambda reader: list_buckets(reader, account.public_key)))


async def test_a_made_bucket_is_listed_until_it_is_deleted(database: Database) -> None:
    assert await wrote(database, bucket_row()) == 0
    assert await listed(database) == [component("empty")]
    assert await listed(database, STRANGER) == []
    assert await wrote(database, bucket_row(action="delete")) == 1
    assert await listed(database) == []


async def test_made_buckets_and_those_with_objects_are_listed_in_order_and_once(database: Database) -> None:
    await write(database, row("a"))
    long = b"a" * 48  # longer components come later, whatever their bytes
    for one in (bucket_row("zebra"), bucket_row("bucket"), bucket_row(bucket=long), bucket_row("alpha")):
        await wrote(database, one)
    assert await listed(database) == [component("alpha"), component("bucket"), component("zebra"), long]


async def test_making_a_bucket_that_is_there_succeeds_and_says_so(database: Database) -> None:
    await write(database, row("a"))
    assert await wrote(database, bucket_row("bucket")) == 1
    assert await wrote(database, bucket_row("bucket", time=NOW + 1)) == 1
    entries = await database.read(lambda reader: list(scan_log(reader)))
    verify_chain(entries, NETWORK)
    assert [entry.record.kind for entry in entries] == ["row", "bucket"]


async def test_a_bucket_with_objects_is_not_deleted(database: Database) -> None:
    one = row("dir/a")
    await write(database, one)
    await wrote(database, bucket_row("bucket"))
    with pytest.raises(ConflictError, match="objects are in"):
        await wrote(database, bucket_row("bucket", "delete"))
    await write(database, row("dir/a", replaces=one, manifest=None))
    assert await wrote(database, bucket_row("bucket", "delete")) == 1
    assert await listed(database) == []


async def test_a_bucket_that_nobody_made_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await wrote(database, bucket_row(action="delete"))


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (bucket_row(signer=STRANGER), AuthError),
        (bucket_row().model_copy(update={"action": "delete"}), AuthError),
        (bucket_row(time=NOW + 121), ProtocolError),
        (bucket_row(bucket=b"b" * 47), ProtocolError),
    ],
    ids=["another account's", "altered", "from the future", "no name"],
)
async def test_a_bucket_row_that_is_wrong_in_itself_is_refused(
    database: Database, bad: BucketRow, error: type[HippyError]
) -> None:
    with pytest.raises(error):
        await wrote(database, bad)
    assert await listed(database) == []


async def test_an_account_makes_so_many_buckets_and_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "BUCKETS_MADE_MAX", 2)
    await wrote(database, bucket_row("one"))
    await wrote(database, bucket_row("two"))
    with pytest.raises(QuotaError):
        await wrote(database, bucket_row("three"))
    assert await wrote(database, bucket_row("two")) == 1
    await wrote(database, bucket_row("one", "delete"))
    assert await wrote(database, bucket_row("three")) == 0


async def test_strangers_see_that_there_is_a_bucket_row_and_not_which(database: Database) -> None:
    one = bucket_row()
    await wrote(database, one)
    (entry,) = (await database.read(lambda reader: read_page(reader, 0))).entries
    assert (entry.record.kind, entry.record.body_id, entry.bucket) == ("bucket", one.id(NETWORK), None)
    (whole,) = await database.read(lambda reader: list(scan_log(reader)))
    assert whole.bucket == one
