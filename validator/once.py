"""Repeated requests: the same request id gets the stored answer for a day (PROTOCOL §1).

Keys: ``req/`` account ‖ request id → u64 end ‖ body's id ‖ answer; ``reqdue/`` end ‖ account ‖ request id, by
which they are forgotten. A request that failed leaves nothing, so its repeat is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hippy.errors import ConflictError
from hippy.hashing import u64
from hippy.ids import MessageId, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.tables import ordered

ANSWER_SECONDS: Final = 24 * 3600
REQUEST: Final = b"req/"
REQUEST_DUE: Final = b"reqdue/"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes two requests the same: account, request id, and the id of the whole message."""

    account: PublicKey
    request_id: bytes
    body_id: MessageId


def answered(reader: Reader, request: RequestKey, now: int) -> bytes | None:
    """Return the answer this request got before, or None.

    Raises ConflictError when the request id was used with another body.
    """
    value = reader.get(REQUEST + request.account + request.request_id)
    if value is None or _end(value) <= now:
        return None
    if value[8:40] != request.body_id:
        raise ConflictError("this request_id was used for another request", hint="use a new request_id")
    return value[40:]


def once(txn: Transaction, request: RequestKey, now: int, work: Callable[[], bytes]) -> bytes:
    """Return the stored answer, or do the work and store its answer.

    Raises ConflictError when the request id was used with another body, and whatever ``work`` raises.
    """
    answer = answered(txn, request, now)
    if answer is not None:
        return answer
    answer = work()
    name = request.account + request.request_id
    outdated = txn.get(REQUEST + name)
    if outdated is not None:
        txn.delete(REQUEST_DUE + ordered(_end(outdated)) + name)
    end = now + ANSWER_SECONDS
    txn.put(REQUEST + name, u64(end) + request.body_id + answer)
    txn.put(REQUEST_DUE + ordered(end) + name, b"")
    return answer


def forget_answers(txn: Transaction, now: int, limit: int) -> int:
    """Remove up to ``limit`` answers older than a day; return how many there were."""
    due = [key for key, _ in islice(txn.scan(REQUEST_DUE), limit)]
    start = len(REQUEST_DUE)
    outdated = [key for key in due if int.from_bytes(key[start : start + 8], "big") <= now]
    for key in outdated:
        txn.delete(key)
        txn.delete(REQUEST + key[start + 8 :])
    return len(outdated)


def _end(value: bytes) -> int:
    return int.from_bytes(value[:8], "little")
