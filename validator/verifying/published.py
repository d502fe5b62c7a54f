"""What a validator publishes, fetched: bounded, in order, nothing believed (PROTOCOL §5.1, §5.6, §9).

Owns requests, limits and what a page must be for there to be an end. Whether it is true is for
hippy.validator.verifying.epoch.

Example::

    published = Published(http, peer)
    header = await published.header((await published.epochs()).last)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from struct import Struct
from typing import Final, TypeVar

from hippy.errors import NotFoundError, ProtocolError, TooLargeError
from hippy.proofs.transcript import TRANSCRIPT_BYTES_MAX
from hippy.transport.client import Call, Http, Peer
from hippy.wire.audit import EpochHeader, Epochs
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message
from hippy.wire.log import LOG_PAGE_BYTES_MAX, LogPage
from hippy.wire.score import SHEET_BYTES_MAX, ScoreSheet

EVIDENCE_PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
EVIDENCE_BYTES_MAX: Final = 32 + 64 * (1 + 2 + 32 + 1 + 32 * 32)
"""Of one entry: 64 leaves with 32 siblings each (PROTOCOL §5.3)."""

LOG_RECORDS_MAX: Final = 4_000_000
"""Records of a log that are read at all: 160 MB for ids and times, and what they say of holdings."""

LOG_BYTES_MAX: Final = 16 * 1024**3
"""A million holdings have 0.4 GB."""

_LENGTH: Final = Struct("<I")
M = TypeVar("M", bound=Message)


class Published:
    """Reads one validator; every answer is as long as PROTOCOL §9 allows, and has its deadline by that."""

    def __init__(self, http: Http, peer: Peer) -> None:
        """``peer`` has answered a handshake."""
        self._http = http
        self._peer = peer

    async def epochs(self) -> Epochs:
        """Return the first and last epoch that a header is kept of.

        Raises ProtocolError if the last is before the first, NotFoundError while there is none.
        """
        found = await self._message("/v1/epochs", Epochs, MESSAGE_BYTES_MAX)
        if found.last < found.first:
            raise ProtocolError(f"{self._peer} keeps epochs {found.first} to {found.last}, which is none")
        return found

    async def header(self, epoch: int) -> EpochHeader:
        """Return the header of an epoch. Raises ProtocolError for that of another, NotFoundError if it is not kept."""
        header = await self._message(f"/v1/epochs/{epoch}/header", EpochHeader, MESSAGE_BYTES_MAX)
        if header.epoch != epoch:
            raise ProtocolError(f"{self._peer} gave the header of epoch {header.epoch} for that of epoch {epoch}")
        return header

    async def transcript(self, epoch: int) -> bytes:
        """Return the file of an epoch's transcript. Raises NotFoundError if it is not kept."""
        return await self._bytes(f"/v1/epochs/{epoch}/transcript", TRANSCRIPT_BYTES_MAX)

    async def sheet(self, epoch: int) -> ScoreSheet:
        """Return the score sheet of an epoch. Raises NotFoundError if it is not kept."""
        return await self._message(f"/v1/epochs/{epoch}/sheet", ScoreSheet, SHEET_BYTES_MAX)

    async def evidence(self, epoch: int, count: int) -> AsyncIterator[list[bytes]]:
        """Yield the evidence of the first ``count`` entries of a transcript, page by page.

        Raises ProtocolError for a page without a whole item, and for more items than entries.
        """
        taken = 0
        while taken < count:
            after = f"?after={taken - 1}" if taken else ""
            page = await self._bytes(f"/v1/epochs/{epoch}/evidence{after}", EVIDENCE_PAGE_BYTES_MAX)
            items = split_evidence(page, count - taken)
            if not items:
                raise ProtocolError(
                    f"{self._peer} gave the evidence of {taken} of the {count} entries of epoch {epoch} and no more"
                )
            taken += len(items)
            yield items

    async def log(self, last_seq: int) -> AsyncIterator[LogPage]:
        """Yield the pages of the log up to record ``last_seq``, and one with what is behind it, if anything is.

        Raises ProtocolError for a page that does not go on where the one before ended, TooLargeError for a log of more
        records or bytes than anybody reads.
        """
        if last_seq > LOG_RECORDS_MAX:
            raise TooLargeError(f"the log of {self._peer} has {last_seq} records, more than {LOG_RECORDS_MAX}")
        seq, size = 0, 0
        while seq <= last_seq:
            raw = await self._bytes(f"/v1/log?after={seq}" if seq else "/v1/log", LOG_PAGE_BYTES_MAX)
            size += len(raw)
            if size > LOG_BYTES_MAX:
                raise TooLargeError(f"the log of {self._peer} has more than {LOG_BYTES_MAX} bytes at record {seq}")
            page = await asyncio.to_thread(LogPage.parse, raw, limit=LOG_PAGE_BYTES_MAX)
            if not page.entries and seq < last_seq:
                raise ProtocolError(f"{self._peer} gave {seq} records of its log, which has at least {last_seq}")
            if [entry.record.seq for entry in page.entries] != list(range(seq + 1, seq + 1 + len(page.entries))):
                raise ProtocolError(f"{self._peer} gave other records of its log than those behind record {seq}")
            seq += len(page.entries)
            yield page
            if page.head is not None or not page.entries:
                break

    async def _message(self, target: str, kind: type[M], limit: int) -> M:
        return kind.parse(await self._bytes(target, limit), limit=limit)

    async def _bytes(self, target: str, limit: int) -> bytes:
        try:
            return await self._http.bytes(self._peer, Call("GET", target, answer_bytes_max=limit))
        except NotFoundError as error:
            path = target.partition("?")[0]
            raise NotFoundError(f"{self._peer} does not show {path}: {error.message}") from None


def split_evidence(page: bytes, count_max: int) -> list[bytes]:
    """Return the items of a page of evidence, each behind its u32 length.

    Raises ProtocolError for more than ``count_max`` items, one that is longer than evidence can be, and a cut one.
    """
    items: list[bytes] = []
    at = 0
    while at < len(page):
        if len(items) == count_max:
            raise ProtocolError("a page of evidence has more items than the transcript has entries")
        if len(page) - at < _LENGTH.size:
            raise ProtocolError("a page of evidence ends within an item")
        (length,) = _LENGTH.unpack_from(page, at)
        at += _LENGTH.size
        if length > min(EVIDENCE_BYTES_MAX, len(page) - at):
            raise ProtocolError(f"a page of evidence has an item of {length} bytes, which is cut or too long")
        items.append(page[at : at + length])
        at += length
    return items
