"""A segment's way from plain bytes to sealed pieces, in one buffer (docs/PROTOCOL.md §2).

Two synchronous steps that worker threads run, several segments at a time. :class:`FileReading` and :func:`fill` read
the chunks of a plan one behind the other, hash and encrypt each where it lies. :func:`prepare_segment` pads, codes,
seals and hashes the pieces. Neither allocates anything of a segment's size.

Invariants: a chunk that cannot be read leaves no gap and fails its file alone; every salt and nonce is fresh;
the seal key depends on the ciphertext, so the same stream never covers two texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from hippy.client.file_errors import changed, reading_error
from hippy.client.keys import AccountKeys
from hippy.client.packing import Chunk, SegmentPlan
from hippy.client.roots import roots_of
from hippy.client.sources import Reader, Source
from hippy.erasure.codec import Codec
from hippy.erasure.geometry import piece_length
from hippy.errors import HippyError
from hippy.hashing import digest
from hippy.ids import SegmentId
from hippy.seal import SALT_BYTES, xor_extent, xor_seal
from hippy.wire.segment import SegmentSpec

Entropy = Callable[[int], bytes]
"""Returns so many fresh random bytes."""

NONCE_BYTES: Final = 16
PIECE_BYTES_MIN: Final = 32
"""Shorter data is filled up with zeros that no extent names. Roots have to be distinct (PROTOCOL §2), and of 24
pieces of one byte, the end of a file that is a byte too long for its segments, two are usually equal."""


@dataclass(frozen=True, slots=True)
class Extent:
    """An encrypted run of a file's bytes inside a segment that has no id yet."""

    file: int
    first_byte: int
    """Where the run begins in its file."""

    offset: int
    length: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Filled:
    """What lies in a buffer after reading."""

    data_length: int
    extents: tuple[Extent, ...]


class FileReading:
    """One file while its chunks are read, in order. ``error`` says why it failed, ``hash`` is there at its end."""

    def __init__(self, label: str, source: Source) -> None:
        self.label = label
        self.source = source
        self.error: HippyError | None = None
        self.hash: bytes | None = None
        self._reader: Reader | None = None
        self._hasher = blake3()
        self._position = 0

    def read(self, chunk: Chunk, out: memoryview) -> bytes | None:
        """Fill ``out`` with a chunk and return its BLAKE3; None once the file has failed."""
        if self.error is None:
            try:
                return self._read(chunk, out)
            except (HippyError, OSError, ValueError) as error:
                self.fail(reading_error(self.label, error))
        return None

    def read_whole(self) -> bytes:
        """Return all bytes of a short file; none when it failed."""
        content = bytearray(self.source.size)
        try:
            self._reader = self.source.open()
            self._fill(memoryview(content))
            self._finish(digest(content))
        except (HippyError, OSError, ValueError) as error:
            self.fail(reading_error(self.label, error))
        return bytes(content)

    def fail(self, error: HippyError) -> None:
        """Give the file up."""
        self.error = error
        self.close()

    def close(self) -> None:
        """Close what is open; harmless twice."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self, chunk: Chunk, out: memoryview) -> bytes:
        assert chunk.offset == self._position, "chunks of a file are read in order"
        if self._reader is None:
            self._reader = self.source.open()
        self._fill(out)
        self._position += chunk.length
        chunk_hash = digest(out)
        whole, last = chunk.length == self.source.size, self._position == self.source.size
        if not whole:
            self._hasher.update(out)
        if last:
            self._finish(chunk_hash if whole else self._hasher.digest())
        return chunk_hash

    def _fill(self, out: memoryview) -> None:
        assert self._reader is not None
        done = 0
        while done < len(out):
            count = self._reader.readinto(out[done:])
            if not count:
                raise changed(self.label)
            done += count

    def _finish(self, file_hash: bytes) -> None:
        assert self._reader is not None
        self._reader.check_unchanged()
        self.close()
        self.hash = file_hash


def fill(
    plan: SegmentPlan, files: Mapping[int, FileReading], buffer: memoryview, keys: AccountKeys, entropy: Entropy
) -> Filled:
    """Read and encrypt the chunks of a plan to the start of ``buffer``."""
    end = 0
    extents = []
    for chunk in plan.chunks:
        place = buffer[end : end + chunk.length]
        chunk_hash = files[chunk.file].read(chunk, place)
        if chunk_hash is None:
            continue
        key = keys.extent_key(entropy(SALT_BYTES), chunk_hash)
        xor_extent(key, place)
        extents.append(Extent(chunk.file, chunk.offset, end, chunk.length, key))
        end += chunk.length
    return Filled(end, tuple(extents))


@dataclass(frozen=True, slots=True)
class PreparedSegment:
    """Sealed pieces, as views of their buffer, and what their segment is called."""

    spec: SegmentSpec
    segment_id: SegmentId
    seal_key: bytes = field(repr=False)
    pieces: tuple[memoryview, ...] = field(repr=False)


def prepare_segment(
    buffer: memoryview, data_length: int, codec: Codec, keys: AccountKeys, entropy: Entropy
) -> PreparedSegment:
    """Turn ``data_length`` encrypted bytes at the start of ``buffer`` into n sealed pieces in it."""
    filler = max(0, codec.k * PIECE_BYTES_MIN - data_length)
    buffer[data_length : data_length + filler] = bytes(filler)
    data_length += filler
    length = piece_length(data_length, codec.k)
    seal_key = keys.seal_key(entropy(SALT_BYTES), digest(buffer[:data_length]))
    padding = codec.k * length - data_length
    buffer[data_length : data_length + padding] = bytes(padding)
    pieces = tuple(buffer[index * length : (index + 1) * length] for index in range(codec.n))
    codec.encode(pieces[: codec.k], pieces[codec.k :])
    for index, piece in enumerate(pieces):
        xor_seal(seal_key, index, piece)
    roots = roots_of(pieces)
    spec = SegmentSpec(
        nonce=entropy(NONCE_BYTES),
        roots=roots,
        data_length=data_length,
        piece_length=length,
        k=codec.k,
        n=codec.n,
    )
    return PreparedSegment(spec, spec.segment_id(keys.account), seal_key, pieces)
