"""Buckets: listed, made and unmade (docs/PROTOCOL.md §3.4). Objects need none; one that was made stays when empty.

Owns signing bucket rows and decrypting bucket names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hippy.client.names import open_bucket, seal_bucket
from hippy.client.uri import SCHEME, parse_uri
from hippy.errors import UsageError
from hippy.wire.object import BucketRow

if TYPE_CHECKING:
    from hippy.client.session import Session


def bucket_name(text: str) -> str:
    """Return the name in ``bucket`` or ``hippy://bucket``.

    Raises UsageError when it is no name, or a path below a bucket.
    """
    uri = parse_uri(text if text.startswith(SCHEME) else f"{SCHEME}{text}")
    if uri.components:
        raise UsageError(f"{text} names something in a bucket", hint=f"name the bucket alone: {uri.bucket}")
    return uri.bucket


async def list_buckets(session: Session) -> list[str]:
    """Return the names of the account's buckets, sorted."""
    return sorted(open_bucket(session.keys, each) for each in await session.api.buckets())


async def write_bucket(session: Session, name: str, action: Literal["create", "delete"]) -> bool:
    """Make or unmake a bucket; return whether there was one before.

    Raises ConflictError when it is to be unmade and not empty, NotFoundError when nobody made it.
    """
    keys = session.keys
    row = BucketRow(
        account=keys.account, bucket=seal_bucket(keys, name).bucket, action=action, time=int(session.clock.now())
    )
    return await session.api.write_bucket(row.signed(keys.identity, session.network))
