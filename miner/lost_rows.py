"""What the index remembers of lost pieces, as functions over one transaction (PROTOCOL §5.5).

Rows::

    "check/" ‖ root              found missing or damaged, and not looked at since
    "lost/" ‖ root               the keys, joined, of the validators that are told or stand in line to be
    "tell/" ‖ validator ‖ root   this validator has not answered a report that names the root

A root goes from check to lost once, when a look confirmed it, and gets its tell rows in the same transaction; a tell
row goes when its report was answered. So a restart reports what was not answered, and nothing else. Bytes that were
stored anew end all of it (:func:`forget`), and a look that began before them settles nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

from hippy.ids import ID_BYTES, PublicKey, Root
from hippy.kv import Reader, Transaction

_CHECK: Final = b"check/"
_LOST: Final = b"lost/"
_TELL: Final = b"tell/"
_LAST: Final = b"\xff" * ID_BYTES


def note(state: Transaction, roots: Iterable[Root]) -> None:
    """Have these pieces looked at, but for those that are known to be lost."""
    for root in roots:
        if state.get(_LOST + root) is None:
            state.put(_CHECK + root, b"")


def unchecked(state: Reader, after: Root | None, limit: int) -> list[Root]:
    """Return at most ``limit`` pieces that nobody has looked at yet, in order, behind ``after``."""
    behind = None if after is None else _CHECK + after
    return [Root(key[len(_CHECK) :]) for key, _ in islice(state.scan(_CHECK, behind), limit)]


def dismiss(state: Transaction, root: Root) -> None:
    """The look found the piece whole."""
    state.delete(_CHECK + root)


def confirm(state: Transaction, root: Root, validators: Collection[PublicKey]) -> None:
    """The look found the piece lost: its validators are to be told; nothing if it was stored anew meanwhile."""
    if state.get(_CHECK + root) is None:
        return
    state.delete(_CHECK + root)
    state.put(_LOST + root, b"".join(sorted(validators)))
    for validator in validators:
        state.put(_TELL + validator + root, b"")


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


def forget(state: Transaction, root: Root) -> None:
    """The piece's bytes are here again."""
    state.delete(_CHECK + root)
    known = state.get(_LOST + root)
    if known is None:
        return
    state.delete(_LOST + root)
    for start in range(0, len(known), ID_BYTES):
        state.delete(_TELL + known[start : start + ID_BYTES] + root)
