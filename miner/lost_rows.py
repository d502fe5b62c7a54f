"""What the index remembers of lost pieces, as functions over one transaction (PROTOCOL §5.5).

Rows::

    "check/" ‖ root              found missing or damaged, and not looked at since
    "lost/" ‖ root               the keys, joined, of the validators that are told or stand in line to be
    "tell/" ‖ validator ‖ root   this validator has not answered a report that names the root
    "again/" ‖ time ‖ validator ‖ root   it has, too early to know of the piece, and is told again then (u64 big-endian)

A root goes from check to lost once, when a look confirmed it, and gets its tell rows in the same transaction; a tell
row goes when its report was answered. So a restart reports what was not answered, and nothing else. Bytes that were
stored anew end all of it (:func:`forget`), and a look that began before them settles nothing. An again row becomes a
tell row at its time, unless its loss has ended: rows of that kind are found by time only, so they outlive it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Final

from hippy.ids import ID_BYTES, PublicKey, Root
from hippy.kv import Reader, Transaction

_CHECK: Final = b"check/"
_LOST: Final = b"lost/"
_TELL: Final = b"tell/"
_AGAIN: Final = b"again/"
_TIME_BYTES: Final = 8
_LAST: Final = b"\xff" * ID_BYTES


def note(state: Transaction, roots: Iterable[Root]) -> int:
    """Have these pieces looked at, but for those that are known to be lost, and return how many."""
    unknown = [root for root in roots if state.get(_LOST + root) is None]
    for root in unknown:
        state.put(_CHECK + root, b"")
    return len(unknown)


def is_noted(state: Reader, root: Root) -> bool:
    """Return whether a piece is to be looked at, or was and is lost."""
    return any(state.get(kind + root) is not None for kind in (_CHECK, _LOST))


def is_lost(state: Reader, root: Root) -> bool:
    """Return whether a look confirmed that a piece is lost."""
    return state.get(_LOST + root) is not None


def unchecked(state: Reader, after: Root | None, limit: int) -> list[Root]:
    """Return at most ``limit`` pieces that nobody has looked at yet, in order, behind ``after``."""
    behind = None if after is None else _CHECK + after
    return [Root(key[len(_CHECK) :]) for key, _ in islice(state.scan(_CHECK, behind), limit)]


def dismiss(state: Transaction, root: Root) -> None:
    """The look found the piece whole."""
    state.delete(_CHECK + root)


def confirm(state: Transaction, root: Root, validators: Collection[PublicKey]) -> bool:
    """The look found the piece lost: its validators are to be told. False: it was stored anew meanwhile."""
    if state.get(_CHECK + root) is None:
        return False
    state.delete(_CHECK + root)
    state.put(_LOST + root, b"".join(sorted(validators)))
    for validator in validators:
        state.put(_TELL + validator + root, b"")
    return True


def validators_to_tell(state: Reader) -> list[PublicKey]:
    """Return who is to be told something; a seek for each, however much it is."""
    found: list[PublicKey] = []
    key = next((key for key, _ in state.scan(_TELL)), None)
    while key is not None:
        validator = PublicKey(key[len(_TELL) : len(_TELL) + ID_BYTES])
        found.append(validator)
        key = next((key for key, _ in state.scan(_TELL, _TELL + validator + _LAST)), None)
    return found


def to_tell(state: Reader, validator: PublicKey, limit: int) -> list[Root]:
    """Return at most ``limit`` lost pieces of which this validator is to be told, in order."""
    prefix = _TELL + validator
    return [Root(key[len(prefix) :]) for key, _ in islice(state.scan(prefix), limit)]


def told(state: Transaction, validator: PublicKey, roots: Iterable[Root]) -> None:
    """The validator answered the report of these roots."""
    for root in roots:
        state.delete(_TELL + validator + root)


def tell_again(state: Transaction, validator: PublicKey, times: Mapping[Root, int]) -> None:
    """The validator is to be told of these roots once more, each at its time, in Unix seconds."""
    for root, seconds in times.items():
        state.put(_AGAIN + seconds.to_bytes(_TIME_BYTES, "big") + validator + root, b"")


def fall_due(state: Transaction, now: int, limit: int) -> int | None:
    """Put what is to be told again by ``now`` in line, at most ``limit`` at a time, and return when there is more."""
    for key, _ in islice(state.scan(_AGAIN), limit):
        told = key[len(_AGAIN) :]
        seconds = int.from_bytes(told[:_TIME_BYTES], "big")
        if seconds > now:
            return seconds
        state.delete(key)
        if state.get(_LOST + told[-ID_BYTES:]) is not None:
            state.put(_TELL + told[_TIME_BYTES:], b"")
    rest = next((key for key, _ in state.scan(_AGAIN)), None)
    return None if rest is None else int.from_bytes(rest[len(_AGAIN) :][:_TIME_BYTES], "big")


def forget(state: Transaction, root: Root) -> None:
    """The piece's bytes are here again."""
    state.delete(_CHECK + root)
    known = state.get(_LOST + root)
    if known is None:
        return
    state.delete(_LOST + root)
    for start in range(0, len(known), ID_BYTES):
        state.delete(_TELL + known[start : start + ID_BYTES] + root)
