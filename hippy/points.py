"""Named points in the order of durable steps, at which tests end a process or a simulated node.

Crash safety is a claim about every instant, so the instants have names. A point stands before or after each step that
makes something durable or tells somebody of it; nothing happens there unless a watcher was installed. A real process
ends at the Nth visit of a point that the environment names, as kill -9 would end it::

    HIPPY_CRASH_AT=miner.renamed:3 hippy miner run …

Names are role, then what has just been done, or "before_" what is about to be.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from hippy.errors import UsageError

CRASH_VARIABLE: Final = "HIPPY_CRASH_AT"

POINTS: Final[Mapping[str, str]] = {
    "kv.before_batch": "a group of transactions is about to be written",
    "kv.batch": "a group of transactions is synced, nobody was answered yet",
    "miner.before_data": "a piece's root is right, nothing of it is on disk",
    "miner.data_written": "a piece's bytes are written, not synced",
    "miner.data_synced": "a piece's bytes are synced under no name",
    "miner.tree": "a piece's tree has its name, the piece has not",
    "miner.renamed": "a piece has its name, which is not synced",
    "miner.folder_synced": "a piece is durable, no index row names it",
    "miner.indexed": "a piece's obligation is durable, no receipt was sent",
    "miner.released": "an obligation's end is durable",
    "miner.trash_unindexed": "trash is out of the index, its files are there",
    "miner.trash_removed": "files of trash are removed",
    "validator.before_allocation": "an allocation was checked and drawn",
    "validator.allocated": "an allocation is durable, not answered",
    "validator.before_commit": "a commit's receipts and envelopes are checked",
    "validator.committed": "a segment record is durable, not answered",
    "validator.before_rows": "rows and their manifests are checked",
    "validator.rows": "rows are durable, not answered",
    "validator.released": "released records are durable",
    "validator.before_follow": "records of a followed log are checked",
    "validator.followed": "records of a followed log are durable, not acknowledged",
    "validator.before_repair": "a piece was chosen to be repaired, nothing of it is planned",
    "validator.repair_planned": "an order to repair is durable, it was not sent",
    "validator.before_order": "the delivery of an order is counted, it was not sent",
    "validator.order_answered": "an order's answer is here",
    "validator.before_move": "the receipt of a repaired piece is checked",
    "validator.moved": "a moved record is durable",
    "client.allocated": "tickets are here, no piece was sent",
    "client.piece": "a miner's receipt for one piece is here",
    "client.pieces": "enough receipts of a segment are here",
    "client.committed": "a segment is committed, no row names it",
    "client.before_rows": "rows are signed",
    "client.rows": "rows are written, the caller was not told",
    "client.file_written": "a fetched file's bytes are in its temporary file",
    "client.file_renamed": "a fetched file has its name",
}
"""Every point, and what is so there."""

Watcher = Callable[[str], None]

_watcher: Watcher | None = None


def reached(point: str) -> None:
    """Tell the watcher, if there is one, that a point of :data:`POINTS` is reached; what it raises, this raises."""
    if _watcher is not None:
        _watcher(point)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Have ``watcher`` told of every point while the context lasts; one at a time."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


def arm(environment: Mapping[str, str]) -> None:
    """Have this process killed at the point that ``HIPPY_CRASH_AT`` names, as ``point`` or ``point:visit``, if it is.

    Raises UsageError for a point that does not exist or a visit that is no number from 1 on.
    """
    global _watcher
    told = environment.get(CRASH_VARIABLE)
    if told is None:
        return
    point, _, visit = told.partition(":")
    if point not in POINTS or not (visit or "1").isdecimal() or int(visit or "1") < 1:
        raise UsageError(f"{CRASH_VARIABLE}={told} names no point of hippy.points", hint="point or point:visit")
    _watcher = _killer(point, int(visit or "1"))


def _killer(point: str, visit: int) -> Watcher:
    visits, lock = 0, threading.Lock()

    def watch(reached_point: str) -> None:
        nonlocal visits
        if reached_point == point:
            with lock:
                visits += 1
                if visits == visit:
                    os.kill(os.getpid(), signal.SIGKILL)

    return watch
