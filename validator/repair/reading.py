"""Reading pieces for repair: one random leaf, to see whether a source is one, or all leaves of k pieces in step.

A miner is read from after a handshake, anonymously, as any client would. The validator makes a piece only where two
miners said that it cannot be made (PROTOCOL §7): in ranges, of which k are in memory, and it keeps none of it.

Example::

    if not await reader.has(source, piece_length):
        ...
    root = await reader.make(job, n, seal_key)      # raises SourcesFailedError naming who did not give theirs
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hippy.erasure.codec import Codec
from hippy.erasure.repair import repaired_piece
from hippy.errors import HippyError, IntegrityError, TemporaryError
from hippy.ids import Root
from hippy.proofs.ranges import parse_range, verify_range
from hippy.proofs.tree import LEAF_BYTES, TreeBuilder, leaf_count, piece_root
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer
from hippy.validator.directory import MinerDirectory
from hippy.validator.repair.jobs import RepairJob
from hippy.validator.repair.masks import fill_mask
from hippy.wire.repair import RepairSource

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("hippy.validator")

T = TypeVar("T")

RANGE_BYTES_MAX: Final = 256 * 1024
RANGES_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one source, and of all together, at a time."""

PROOF_BYTES_MAX: Final = 1_024
"""What an answer has beside its leaves: a header and at most 17 siblings."""


class SourcesFailedError(TemporaryError):
    """Some sources did not give what they should have."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices = tuple(indices)
        super().__init__(f"pieces {list(indices)} could not be read")


def range_bytes(k: int) -> int:
    """Return how many bytes of each of ``k`` pieces are read at a time: whole leaves.

    >>> range_bytes(10) // 1024, range_bytes(255) // 1024
    (256, 16)
    """
    return max(1, min(RANGE_BYTES_MAX, RANGES_BYTES_MAX // k) // LEAF_BYTES) * LEAF_BYTES


class SourceReader:
    """Reads for one validator."""

    def __init__(self, http: Http, directory: MinerDirectory, rng: Random) -> None:
        """``http`` signs nothing."""
        self._http = http
        self._directory = directory
        self._rng = rng

    async def has(self, source: RepairSource, piece_length: int) -> bool:
        """Return whether a source shows one leaf of its piece, drawn by chance."""
        offset = self._rng.randrange(leaf_count(piece_length)) * LEAF_BYTES
        length = min(LEAF_BYTES, piece_length - offset)
        try:
            await self._meet(source)
            await self._read(source, offset, length, piece_length)
        except HippyError as error:
            log.info("source %d does not show leaf %d: %s", source.index, offset // LEAF_BYTES, error)
            return False
        return True

    async def make(self, job: RepairJob, n: int, seal_key: bytes) -> Root:
        """Return the root of what a job's sources make of its piece.

        Raises SourcesFailedError.
        """
        await _all({source.index: self._meet(source) for source in job.sources})
        builder, codec, step = TreeBuilder(), Codec(job.k, n), range_bytes(job.k)
        for offset in range(0, job.piece_length, step):
            length = min(step, job.piece_length - offset)
            parts = await _all(
                {source.index: self._read(source, offset, length, job.piece_length) for source in job.sources}
            )
            builder.update(await asyncio.to_thread(_made, codec, parts, job.index, offset, length, seal_key))
        return piece_root(builder.finish(), job.piece_length)

    async def _meet(self, source: RepairSource) -> None:
        if not await self._directory.greet(_peer(source)):
            raise TemporaryError(f"no handshake with {_peer(source)}")

    async def _read(self, source: RepairSource, offset: int, length: int, piece_length: int) -> Buffer:
        """Return whole leaves of a piece, checked. Raises HippyError."""
        call = Call(
            "GET",
            f"/v1/pieces/{source.root.hex()}?offset={offset}&length={length}&proof=1",
            answer_bytes_max=length + PROOF_BYTES_MAX,
            deadline_seconds=limits.deadline_seconds(RANGES_BYTES_MAX),
        )
        proof = parse_range(await self._http.bytes(_peer(source), call))
        expected = (piece_length, offset // LEAF_BYTES, length)
        if (proof.piece_length, proof.first_leaf, memoryview(proof.data).nbytes) != expected:
            raise IntegrityError(f"{_peer(source)} gave other leaves than those asked for")
        await asyncio.to_thread(verify_range, source.root, piece_length, proof.first_leaf, proof.data, proof.siblings)
        return proof.data


def _made(
    codec: Codec, parts: Mapping[int, Buffer], index: int, offset: int, length: int, seal_key: bytes
) -> bytearray:
    """Return a range of the piece that these ranges of its sources make."""
    mask, made = bytearray(length), bytearray(length)
    fill_mask(seal_key, codec, sources=sorted(parts), index=index, offset=offset, mask=memoryview(mask))
    repaired_piece(codec, parts, index, mask, memoryview(made))
    return made


async def _all(asked: Mapping[int, Coroutine[Any, Any, T]]) -> dict[int, T]:
    """Return what came of all, by index; raises SourcesFailedError naming those that failed."""
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    results, failed = dict[int, T](), list[int]()
    for index, answer in zip(asked, answers, strict=True):
        if isinstance(answer, HippyError):
            log.info("source %d failed: %s", index, answer)
            failed.append(index)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results[index] = answer
    if failed:
        raise SourcesFailedError(failed)
    return results


def _peer(source: RepairSource) -> Peer:
    return Peer(source.endpoint, source.miner)
