"""How fast a segment is prepared, whole and stage by stage.

The whole is what a put does in a thread for every segment: ``fill`` from a file that the system has in memory, then
``prepare_segment`` (hippy.client.prepare). The stages do the same work on a buffer of their own, one case each. All are
timed in turns, so three things can be told apart: the engine (the whole against the whole with zfec), what the pipeline
adds to its stages (its speed against that of their sum; 1 when it adds nothing), and what a second thread brings
(segments behind each other in two threads, against one).

Invariants: run in order on one buffer, the stages end with the pieces and roots that the whole makes; and what the
whole makes, zfec opens again from the last k pieces. Keys and salts are fixed: what is encrypted here is nobody's.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from hippy.bench.codec import ZFEC
from hippy.bench.measure import Case, Measurement, Pace, RoundTeller, Timer, measure, ratio, speed_ratio
from hippy.bench.report import Group, Ratio
from hippy.bench.shape import KIB, MIB, Shape
from hippy.client.keys import AccountKeys
from hippy.client.packing import Chunk, SegmentPlan
from hippy.client.prepare import PIECE_BYTES_MIN, FileReading, PreparedSegment, fill, prepare_segment
from hippy.client.sources import FileSource
from hippy.erasure.codec import Codec
from hippy.erasure.engines import EngineChoice
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.errors import IntegrityError, UsageError
from hippy.hashing import digest, dk, xof
from hippy.ids import Root
from hippy.proofs.tree import root_of
from hippy.seal import SALT_BYTES, xor_extent, xor_seal

CODE: Final = (10, 24)
PIECE_BYTES: Final = 4 * MIB
"""The standard profile and a full segment: 40 MiB of data become 96 MiB."""

QUICK_PIECE_BYTES: Final = 256 * KIB

WHOLE: Final = "whole"
THREADS: Final = "two threads"
STAGES: Final = (
    *("read", "plaintext digest", "extent encryption", "ciphertext digest"),
    *("encode", "seal", "trees"),
)
"""In the order of a preparation, all in one thread."""

SEGMENTS_PER_THREAD: Final = 3
"""As in a put, two threads are not at the same stage for long; one segment each would keep them there."""

_KEYS: Final = AccountKeys.of_seed(dk("bench-account"))
_SALT: Final = bytes(SALT_BYTES)


def _no_entropy(count: int) -> bytes:
    return bytes(count)


def measure_segment(
    shape: Shape, choice: EngineChoice, pace: Pace, *, timer: Timer, telling: RoundTeller | None = None
) -> Group:
    """Time the preparation of segments of one shape.

    Raises UsageError for pieces so short that a preparation fills them up, IntegrityError when a case computes
    something wrong.
    """
    if shape.piece_bytes < PIECE_BYTES_MIN:
        raise UsageError(f"pieces of {shape.piece_bytes} bytes are filled up", hint=f"use {PIECE_BYTES_MIN} or more")
    content = xof(dk("bench-data"), shape.user_bytes)
    buffers = [memoryview(mmap.mmap(-1, shape.n * shape.piece_bytes)) for _ in range(2)]
    with NamedTemporaryFile(prefix="hippy-bench-") as file, ThreadPoolExecutor(2) as threads:
        file.write(content)
        file.flush()
        source = FileSource.of(Path(file.name))
        codec = Codec(shape.k, shape.n, choice.engine)
        one, other = (_Preparation(content, source, codec, buffer) for buffer in buffers)
        by_zfec = _Preparation(content, source, Codec(shape.k, shape.n, ZfecEngine()), buffers[0])
        expected = by_zfec.run()
        if by_zfec.opened(expected) != content:
            raise IntegrityError("what was prepared cannot be opened", hint="hippy doctor")
        cases = [
            _whole(f"{WHOLE}, {choice.name}", one, expected),
            *([] if choice.name == ZFEC else [_whole(f"{WHOLE}, {ZFEC}", by_zfec, expected)]),
            _two_threads((one, other), threads, expected),
            *_stages(other, expected),
        ]
        measured = {each.name: each for each in measure(cases, pace, timer=timer, telling=telling)}
    return Group(shape.title, shape.facts, tuple(measured.values()), tuple(_ratios(measured, choice.name)))


def _ratios(measured: Mapping[str, Measurement], engine: str) -> Iterator[Ratio]:
    whole = measured[f"{WHOLE}, {engine}"]
    if engine != ZFEC:
        yield Ratio(whole.name, ZFEC, speed_ratio(whole, measured[f"{WHOLE}, {ZFEC}"]))
    yield Ratio(THREADS, "one", speed_ratio(measured[THREADS], whole))
    rounds = zip(*(measured[stage].seconds for stage in STAGES), strict=True)
    yield Ratio(whole.name, "its stages", ratio([sum(each) for each in rounds], whole.seconds))


@dataclass(frozen=True, slots=True)
class _Preparation:
    """A segment's content, in memory and in a file, and the buffer in which its pieces are made, again and again."""

    content: bytes
    source: FileSource
    codec: Codec
    buffer: memoryview

    @property
    def extent_key(self) -> bytes:
        return _KEYS.extent_key(_SALT, digest(self.content))

    @property
    def data(self) -> memoryview:
        return self.buffer[: len(self.content)]

    @property
    def pieces(self) -> list[memoryview]:
        length = len(self.content) // self.codec.k
        return [self.buffer[index * length : (index + 1) * length] for index in range(self.codec.n)]

    def run(self) -> PreparedSegment:
        """Prepare the segment as a put does."""
        plan = SegmentPlan((Chunk(0, 0, len(self.content)),))
        files = {0: FileReading("bench", self.source)}
        filled = fill(plan, files, self.buffer, _KEYS, _no_entropy)
        return prepare_segment(self.buffer, filled.data_length, self.codec, _KEYS, _no_entropy)

    def opened(self, segment: PreparedSegment) -> bytes:
        """Return the content that the last k pieces bring back."""
        k, n, length = segment.spec.k, segment.spec.n, segment.spec.piece_length
        have = {index: bytearray(segment.pieces[index]) for index in range(n - k, n)}
        for index, piece in have.items():
            xor_seal(segment.seal_key, index, piece)
        missing = {index: memoryview(bytearray(length)) for index in range(k) if index not in have}
        self.codec.reconstruct(have, missing)
        whole = bytearray().join((have | missing)[index] for index in range(k))
        xor_extent(self.extent_key, whole)
        return bytes(whole)


def _whole(name: str, preparation: _Preparation, expected: PreparedSegment) -> Case:
    return Case(name, preparation.run, len(preparation.content), lambda made: made.spec == expected.spec)


def _two_threads(both: tuple[_Preparation, _Preparation], threads: Executor, expected: PreparedSegment) -> Case:
    def several(preparation: _Preparation) -> list[PreparedSegment]:
        return [preparation.run() for _ in range(SEGMENTS_PER_THREAD)]

    def run() -> list[PreparedSegment]:
        started = [threads.submit(several, each) for each in both]
        return [segment for each in started for segment in each.result()]

    return Case(
        THREADS,
        run,
        SEGMENTS_PER_THREAD * sum(len(each.content) for each in both),
        lambda made: [each.spec for each in made] == [expected.spec] * SEGMENTS_PER_THREAD * 2,
    )


def _stages(preparation: _Preparation, expected: PreparedSegment) -> Iterator[Case]:
    """Yield the stages; run once in order, they prepare the segment."""
    content, codec, data, pieces = preparation.content, preparation.codec, preparation.data, preparation.pieces
    key, seal_key = preparation.extent_key, expected.seal_key
    plaintext_digest, roots = digest(content), expected.spec.roots

    def read() -> None:
        reader, done = preparation.source.open(), 0
        while done < len(data):
            done += reader.readinto(data[done:])
        reader.close()

    def seal() -> None:
        for index, piece in enumerate(pieces):
            xor_seal(seal_key, index, piece)

    def trees() -> tuple[Root, ...]:
        return tuple(root_of(piece) for piece in pieces)

    def seals(ciphertext_digest: bytes) -> bool:
        return _KEYS.seal_key(_SALT, ciphertext_digest) == seal_key

    work: tuple[tuple[Callable[[], object], Callable[[Any], bool]], ...] = (
        (read, lambda _: digest(data) == plaintext_digest),
        (lambda: digest(data), lambda made: made == plaintext_digest),
        (lambda: xor_extent(key, data), lambda _: seals(digest(data))),
        (lambda: digest(data), seals),
        (lambda: codec.encode(pieces[: codec.k], pieces[codec.k :]), lambda _: True),  # wrong parity: wrong after seal
        (seal, lambda _: trees() == roots),
        (trees, lambda made: made == roots),
    )
    for name, (run, is_right) in zip(STAGES, work, strict=True):
        yield Case(name, run, len(content), is_right)
