"""What an object is: its manifest and head, plain and encrypted (docs/PROTOCOL.md §3.4). Pure.

A manifest says where a file's bytes are and under which keys: ``inline`` carries them, ``extents`` names runs
inside segments, and ``indirect`` names runs that together are another plain manifest, too long for a row. A
head repeats what a listing shows. Both are encrypted under keys of the object's place and bound to account,
name and version, so none can be passed off as another or as an older one.

Example::

    sealed = seal_manifest(manifest, place, account, version=1, salt=salt)
    open_manifest(sealed, place, account, version=1) == manifest
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from hippy import seal
from hippy.client.keys import head_key, manifest_key
from hippy.errors import HippyError, IntegrityError, ProtocolError
from hippy.hashing import digest, u64
from hippy.ids import SegmentId
from hippy.wire.canonical import Message
from hippy.wire.fields import Bytes32, Count, Segment
from hippy.wire.object import MANIFEST_BYTES_MAX, ROW_SEGMENTS_MAX
from hippy.wire.segment import DATA_LENGTH_MAX

if TYPE_CHECKING:
    from hippy.client.names import Place
    from hippy.ids import PublicKey

INLINE_BYTES_MAX: Final = 4096
SEALED_EXTRA_BYTES: Final = seal.SALT_BYTES + seal.TAG_BYTES
PLAIN_BYTES_MAX: Final = MANIFEST_BYTES_MAX - SEALED_EXTRA_BYTES
"""A longer plain manifest is stored as segments."""

INNER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Limit of a manifest behind an indirect one: 32,768 segments of 400 bytes each take less than half."""


def _content(value: object) -> bytes:
    if isinstance(value, str):
        value = bytes.fromhex(value)
    if not isinstance(value, bytes) or len(value) > INLINE_BYTES_MAX:
        raise ValueError("not inline content")
    return value


Content = Annotated[bytes, BeforeValidator(_content), PlainSerializer(lambda value: value.hex(), return_type=str)]
Mode = Annotated[int, Field(ge=0, le=0o7777)]


class ManifestExtent(Message):
    """A run of the file's bytes: ``length`` bytes from ``offset`` on in a segment, under a key of its own."""

    TYPE = "manifest-extent"
    segment_id: Segment
    offset: Annotated[int, Field(ge=0, lt=DATA_LENGTH_MAX)]
    length: Annotated[int, Field(ge=1, le=DATA_LENGTH_MAX)]
    key: Bytes32

    def __repr__(self) -> str:
        return f"ManifestExtent({self.segment_id.hex()[:8]}…, {self.offset}, {self.length})"


class ManifestSegment(Message):
    """The seal key of a segment that extents lie in."""

    TYPE = "manifest-segment"
    segment_id: Segment
    seal_key: Bytes32

    def __repr__(self) -> str:
        return f"ManifestSegment({self.segment_id.hex()[:8]}…)"


class Manifest(Message):
    """Where a file's bytes are. Holds keys: never logged."""

    TYPE = "manifest"
    kind: Literal["inline", "extents", "indirect"]
    size: Count
    hash: Bytes32
    mode: Mode
    mtime_us: Count
    content: Content | None = None
    extents: Annotated[tuple[ManifestExtent, ...], Field(min_length=1)] | None = None
    segments: Annotated[tuple[ManifestSegment, ...], Field(min_length=1, max_length=ROW_SEGMENTS_MAX)] | None = None

    def check_shape(self) -> None:
        """Raises ProtocolError unless the fields fit the kind and each other."""
        if self.kind == "inline":
            self._check_inline()
            return
        if self.content is not None or self.extents is None or self.segments is None:
            raise ProtocolError(f"a manifest of kind {self.kind} has extents and segments only")
        named = [extent.segment_id for extent in self.extents]
        keyed = [segment.segment_id for segment in self.segments]
        if set(named) != set(keyed) or len(set(keyed)) != len(keyed):
            raise ProtocolError("a manifest has the seal key of every segment it names, once")
        if self.kind == "extents" and sum(extent.length for extent in self.extents) != self.size:
            raise ProtocolError("a manifest's extents are as long as its file")

    def _check_inline(self) -> None:
        if self.content is None or self.extents is not None or self.segments is not None:
            raise ProtocolError("an inline manifest has content only")
        if len(self.content) != self.size or digest(self.content) != self.hash:
            raise ProtocolError("an inline manifest's content is not its file")

    def seal_keys(self) -> dict[SegmentId, bytes]:
        """Return the seal key of each segment."""
        return {segment.segment_id: segment.seal_key for segment in self.segments or ()}

    def head(self) -> Head:
        """Return what a listing shows of it."""
        return Head(hash=self.hash, mode=self.mode, mtime_us=self.mtime_us, size=self.size)

    def __repr__(self) -> str:
        return f"Manifest({self.kind}, {self.size} bytes)"


class Head(Message):
    """What a listing shows of an object, without its manifest."""

    TYPE = "head"
    hash: Bytes32
    mode: Mode
    mtime_us: Count
    size: Count


def inline_manifest(content: bytes, *, mode: int, mtime_us: int) -> Manifest:
    """Return the manifest of a file of at most INLINE_BYTES_MAX bytes."""
    return Manifest(
        kind="inline", size=len(content), hash=digest(content), mode=mode, mtime_us=mtime_us, content=content
    )


def fits_a_row(manifest: Manifest) -> bool:
    """Return whether a manifest is short enough to lie beside its row."""
    return len(manifest.encode()) <= PLAIN_BYTES_MAX


def parse_inner(raw: bytes, outer: Manifest) -> Manifest:
    """Return the manifest that the extents of an indirect one lead to.

    Raises IntegrityError unless it describes the same file by extents.
    """
    inner = _parse_manifest(raw, limit=INNER_BYTES_MAX)
    if inner.kind != "extents" or inner.head() != outer.head():
        raise IntegrityError("an indirect manifest leads to the manifest of another file")
    return inner


def seal_manifest(manifest: Manifest, place: Place, account: PublicKey, version: int, salt: bytes) -> bytes:
    """Return a manifest as it lies beside its row; ``salt`` is 32 fresh random bytes."""
    return _seal(manifest.encode(), manifest_key(place.key, salt), place, account, version, salt)


def open_manifest(sealed: bytes, place: Place, account: PublicKey, version: int) -> Manifest:
    """Return the manifest of an object's version.

    Raises IntegrityError when it is altered, of another object or version, or not a manifest.
    """
    key = manifest_key(place.key, sealed[: seal.SALT_BYTES])
    return _parse_manifest(_open(sealed, key, place, account, version), limit=MANIFEST_BYTES_MAX)


def seal_head(head: Head, place: Place, account: PublicKey, version: int, salt: bytes) -> bytes:
    """Return a head as it lies in its row; ``salt`` is 32 fresh random bytes."""
    return _seal(head.encode(), head_key(place.key, salt), place, account, version, salt)


def open_head(sealed: bytes, place: Place, account: PublicKey, version: int) -> Head:
    """Return the head of an object's version.

    Raises IntegrityError when it is altered, of another object or version, or not a head.
    """
    plain = _open(sealed, head_key(place.key, sealed[: seal.SALT_BYTES]), place, account, version)
    try:
        return Head.parse(plain)
    except ProtocolError as error:
        raise IntegrityError(f"a decrypted head is none: {error.message}") from None


def _parse_manifest(raw: bytes, *, limit: int) -> Manifest:
    try:
        manifest = Manifest.parse(raw, limit=limit)
        manifest.check_shape()
    except HippyError as error:
        raise IntegrityError(f"a decrypted manifest is none: {error.message}") from None
    return manifest


def _seal(plain: bytes, key: bytes, place: Place, account: PublicKey, version: int, salt: bytes) -> bytes:
    assert len(salt) == seal.SALT_BYTES
    return salt + seal.aead_seal(key, plain, _bound_to(place, account, version))


def _open(sealed: bytes, key: bytes, place: Place, account: PublicKey, version: int) -> bytes:
    if len(sealed) < SEALED_EXTRA_BYTES:
        raise IntegrityError("a sealed manifest or head is cut short")
    return seal.aead_open(key, sealed[seal.SALT_BYTES :], _bound_to(place, account, version))


def _bound_to(place: Place, account: PublicKey, version: int) -> bytes:
    return account + place.ordered() + u64(version)
