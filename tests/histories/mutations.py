"""Rules broken on purpose: each context breaks one, and histories have to notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from hippy.client.writing import RowWriter
from hippy.erasure.geometry import Profile
from hippy.miner.store import PieceStore
from hippy.testing import disk
from hippy.validator import allocation, leases, objects, releases, service
from hippy.validator.tables import LIFE


@contextmanager
def no_data_sync() -> Iterator[None]:
    """A miner says that bytes are on disk that are not."""
    with patch.object(disk._NewFile, "sync", lambda self: None):
        yield


@contextmanager
def no_directory_sync() -> Iterator[None]:
    """A miner says that a name is on disk that is not."""
    with patch.object(disk.MemoryDisk, "sync_directory", lambda self, path: None):
        yield


@contextmanager
def receipt_before_piece() -> Iterator[None]:
    """A miner signs a receipt and stores the piece a little later."""
    usual = PieceStore.add

    async def add(self: PieceStore, obligation: Any, data: Any, hashes: Any) -> Any:
        async def later(kept: bytes) -> None:
            await asyncio.sleep(0.3)
            await usual(self, obligation, kept, hashes)

        _LATER.append(asyncio.create_task(later(bytes(data))))
        return obligation.receipt

    with patch.object(PieceStore, "add", add):
        yield


_LATER: Final[list[asyncio.Task[None]]] = []


@contextmanager
def no_compare() -> Iterator[None]:
    """The validator takes a row whatever row is in its place."""
    usual = objects._race

    def race(checked: Any, stored: Any, room: int) -> Any:
        answer = usual(checked, stored, room)
        return None if answer is not None and answer.status == "conflict" else answer

    with (
        patch.object(objects, "_race", race),
        patch.object(objects, "_verdict", lambda txn, checked, current: objects._segments_verdict(txn, checked.row)),
        patch.object(objects, "_undropped", lambda row, current, drops: None),
        patch.object(objects, "_left", lambda row, current: set()),
    ):
        yield


@contextmanager
def no_reference_count() -> Iterator[None]:
    """A segment is released once one row no longer names it, though others do."""

    usual = leases.dereference

    def dereference(txn: Any, segment_id: Any, drop: Any, now: int, pace: Any) -> None:
        life = leases.get_life(txn, segment_id)
        if life is not None and life.references:
            txn.put(LIFE + segment_id, replace(life, references=1).encode())
            usual(txn, segment_id, drop, now, pace)

    with patch.object(objects, "dereference", dereference):
        yield


@contextmanager
def few_receipts() -> Iterator[None]:
    """A segment is committed with a single receipt."""
    with patch.object(Profile, "commit_min", 1):
        yield


@contextmanager
def no_refund_at_release() -> Iterator[None]:
    """An account is charged for a segment for ever."""
    with patch.object(releases, "refund", lambda txn, account, size: None):
        yield


@contextmanager
def no_refund_at_close() -> Iterator[None]:
    """An account is charged for an upload that came to nothing."""
    with patch.object(allocation, "refund", lambda txn, account, size: None):
        yield


@contextmanager
def success_before_rows() -> Iterator[None]:
    """A client says that it stored what it has not told the validator."""

    async def write(self: RowWriter, drafts: Any, **_: Any) -> list[None]:
        return [None] * len(drafts)

    with patch.object(RowWriter, "write", write):
        yield


@contextmanager
def no_releases() -> Iterator[None]:
    """Nothing that was deleted is ever released."""
    with patch.object(service, "release_due", lambda txn, home, now, limit: 0):
        yield


@contextmanager
def sweep_too_much() -> Iterator[None]:
    """A miner that starts removes pieces that it owes."""
    from hippy.miner.files import PieceFiles

    usual = PieceFiles.sweep

    def sweep(self: PieceFiles, known: Any, first_folder: int = 0) -> Any:
        return usual(self, lambda byte: set(), first_folder)

    with patch.object(PieceFiles, "sweep", sweep):
        yield


MUTATIONS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    breaks.__name__: breaks
    for breaks in (
        success_before_rows,
        no_compare,
        no_releases,
        no_reference_count,
        no_refund_at_release,
        no_refund_at_close,
        receipt_before_piece,
        no_data_sync,
        no_directory_sync,
        few_receipts,
        sweep_too_much,
    )
}
