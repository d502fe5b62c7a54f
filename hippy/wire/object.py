"""Objects on the wire: account-signed rows, their encrypted manifests, reading, listing (PROTOCOL §3.4).

A row is written with compare-and-swap on ``prev_row_id``. A deletion is a row too, so versions of a name go on
counting. Validators see encrypted names and heads only. Bodies with manifests are *parts* (hippy.wire.parts):
a message, then the manifests it announces, back to back.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.errors import ProtocolError
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.copies import Acks
from hippy.wire.fields import (
    Bytes16,
    Bytes32,
    ComponentBytes,
    Count,
    HeadBytes,
    Key,
    Message32,
    Name,
    Prefix,
    Seconds,
    Segment,
)

ROWS_MAX: Final = 500
"""Rows in one write or read."""

LIST_MAX: Final = 1000
"""Rows in one page of a listing."""

MANIFEST_BYTES_MAX: Final = 256 * 1024
"""A longer manifest is stored as segments, and a short one names them."""

ROW_SEGMENTS_MAX: Final = 32_768
DROPS_MAX: Final = 32_768
"""Segments dropped by one write: all of a row, at least."""

OBJECTS_BYTES_MAX: Final = 32 * 1024 * 1024
READ_BYTES_MAX: Final = 9 * 1024 * 1024
"""A request for 500 names of 8 KiB each, in hex."""

NAME_BYTES_MAX: Final = 8 * 1024
"""Sum of the encrypted components of one name."""

ManifestLength = Annotated[int, Field(ge=1, le=MANIFEST_BYTES_MAX)]


class ObjectRow(SignedMessage):
    """One version of one object, signed by its account.

    ``prev_row_id`` is the id of the row it replaces, zero where there was none. ``action`` "put" has head,
    manifest hash and length; "delete" has none of them and no segments.
    """

    TYPE = "object-row"
    account: Key
    bucket: ComponentBytes
    name: Name
    version: Annotated[int, Field(ge=1, le=2**53 - 1)]
    prev_row_id: Message32
    action: Literal["put", "delete"]
    head: HeadBytes | None = None
    manifest_hash: Bytes32 | None = None
    manifest_length: ManifestLength | None = None
    segment_ids: Annotated[tuple[Segment, ...], Field(max_length=ROW_SEGMENTS_MAX)] = ()
    time: Seconds

    def check_shape(self) -> None:
        """Raises ProtocolError unless the fields fit the action and each other."""
        described = [self.head is not None, self.manifest_hash is not None, self.manifest_length is not None]
        if self.action == "put" and not all(described):
            raise ProtocolError("a put row has a head, a manifest hash and a manifest length")
        if self.action == "delete" and (any(described) or self.segment_ids):
            raise ProtocolError("a delete row has no content")
        if len(set(self.segment_ids)) != len(self.segment_ids):
            raise ProtocolError("a row names each segment once")
        if sum(map(len, self.name)) > NAME_BYTES_MAX:
            raise ProtocolError(f"an encrypted name has at most {NAME_BYTES_MAX} bytes")


class Drop(SignedMessage):
    """An account's word that it needs a segment no longer, once no row names it; signed by the account."""

    TYPE = "drop"
    account: Key
    segment_id: Segment
    time: Seconds


class WriteRequest(Message):
    """Head of ``POST /v1/objects``: rows of one account; then the manifest of each put row, in order.

    ``drops`` has one for every segment that a replaced row names and the row in its place does not.
    """

    TYPE = "objects-write"
    request_id: Bytes16
    account: Key
    rows: Annotated[tuple[ObjectRow, ...], Field(min_length=1, max_length=ROWS_MAX)]
    drops: Annotated[tuple[Drop, ...], Field(max_length=DROPS_MAX)] = ()

    def blob_lengths(self) -> list[int]:
        """Return the lengths of the manifests that follow."""
        return [row.manifest_length for row in self.rows if row.manifest_length is not None]


class RowResult(Message):
    """What became of one row. ``conflict`` carries the row that is there; ``refused`` an error code."""

    TYPE = "row-result"
    status: Literal["stored", "conflict", "refused"]
    current: ObjectRow | None = None
    code: Annotated[str, Field(max_length=32, pattern=r"^[a-z_]*$")] | None = None
    message: Annotated[str, Field(max_length=512, pattern=r"^[ -~]*$")] | None = None


class WriteAnswer(Message):
    """One result per row, in order; what is stored is durable on ``copies`` validators, whose word ``acks`` shows."""

    TYPE = "objects-written"
    copies: Count
    acks: Acks = ()
    results: Annotated[tuple[RowResult, ...], Field(max_length=ROWS_MAX)]


class ReadRequest(Message):
    """``POST /v1/objects/read``: current rows and manifests by name."""

    TYPE = "objects-read"
    account: Key
    bucket: ComponentBytes
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=ROWS_MAX)]


class Found(Message):
    """The current row of one name; absent where none was ever written."""

    TYPE = "found"
    row: ObjectRow | None = None


class ReadAnswer(Message):
    """Head of the answer: results for the first names of the request, as many as fit; then the manifests."""

    TYPE = "objects-found"
    results: Annotated[tuple[Found, ...], Field(max_length=ROWS_MAX)]

    def blob_lengths(self) -> list[int]:
        """Return the lengths of the manifests that follow."""
        rows = [found.row for found in self.results if found.row is not None]
        return [row.manifest_length for row in rows if row.manifest_length is not None]


class ListRequest(Message):
    """``POST /v1/objects/list``: live rows below a prefix, in the order of their ciphertext.

    ``depth`` "one" folds everything below a child into its component; "all" lists every row.
    """

    TYPE = "objects-list"
    account: Key
    bucket: ComponentBytes
    prefix: Prefix
    depth: Literal["one", "all"]
    after: Prefix | None = None
    limit: Annotated[int, Field(ge=1, le=LIST_MAX)]


class ListAnswer(Message):
    """One page. ``after``, when present, is what the next request passes on."""

    TYPE = "objects-listed"
    rows: Annotated[tuple[ObjectRow, ...], Field(max_length=LIST_MAX)]
    prefixes: Annotated[tuple[ComponentBytes, ...], Field(max_length=LIST_MAX)]
    after: Prefix | None = None


class BucketRow(SignedMessage):
    """A bucket made or unmade, signed by its account. Objects need none; it keeps an empty bucket in the listing."""

    TYPE = "bucket-row"
    account: Key
    bucket: ComponentBytes
    action: Literal["create", "delete"]
    time: Seconds


class BucketRequest(Message):
    """``POST /v1/buckets/write``: make a bucket, which succeeds where there is one, or unmake an empty one."""

    TYPE = "bucket-write"
    request_id: Bytes16
    account: Key
    row: BucketRow


class BucketAnswer(Message):
    """The bucket row is durable on ``copies`` validators; ``existed`` tells with 1 that a bucket was there before."""

    TYPE = "bucket-written"
    copies: Count
    acks: Acks = ()
    existed: Annotated[int, Field(ge=0, le=1)]


class BucketsRequest(Message):
    """``POST /v1/buckets``: the account's buckets."""

    TYPE = "buckets-list"
    account: Key


class BucketsAnswer(Message):
    """Encrypted bucket names, in ciphertext order: made ones, and those that objects are in."""

    TYPE = "buckets-listed"
    buckets: Annotated[tuple[ComponentBytes, ...], Field(max_length=10_000)]
