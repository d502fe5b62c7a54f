"""Encrypted names: a path becomes ciphertexts a validator can sort and list but not read (PROTOCOL §3.4).

Owns padding, encryption and decryption of components and the chain of keys along a path. A :class:`Place` is
where a path leads: its ciphertexts and the key of what lies there. Listing walks from a place to its children.

Invariants: equal paths give equal ciphertexts; a component opens only under its parent's key, in its own
account and bucket; what opens is checked by the rules of a component again, so no validator can smuggle in
``..``.

Example::

    place = seal_path(keys, "data", ("train", "a.bin"))
    text, below = open_child(keys, seal_path(keys, "data", ("train",)), place.name[-1])
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hippy import seal
from hippy.client.keys import AccountKeys, child_key, siv_key
from hippy.client.uri import check_depth, clean_component
from hippy.errors import HippyError, IntegrityError, UsageError
from hippy.wire.object import NAME_BYTES_MAX

BLOCK_BYTES: Final = 16
PAD: Final = b"\x80"


def ordered(ciphertexts: tuple[bytes, ...]) -> bytes:
    """Return components as bytes that sort like the names: u8 (length / 16) ‖ bytes each."""
    return b"".join(bytes([len(part) // BLOCK_BYTES]) + part for part in ciphertexts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads. ``name`` is empty for a bucket; ``key`` is the child key of its last component."""

    bucket: bytes
    name: tuple[bytes, ...]
    key: bytes = field(repr=False)

    def ordered(self) -> bytes:
        """Return bucket and components as they are ordered and authenticated."""
        return ordered((self.bucket, *self.name))


def seal_bucket(keys: AccountKeys, bucket: str) -> Place:
    """Return the place of a bucket."""
    return _bucket_place(keys, clean_component(bucket).encode())


def seal_path(keys: AccountKeys, bucket: str, components: tuple[str, ...]) -> Place:
    """Return the place of a path.

    Raises UsageError for a component that is no name, and for a path that is too long encrypted.
    """
    check_depth(components)
    place = seal_bucket(keys, bucket)
    for text in components:
        place = _child_place(keys, place, clean_component(text).encode())
    if sum(map(len, place.name)) > NAME_BYTES_MAX:
        raise UsageError(f"the path is too long: encrypted it has more than {NAME_BYTES_MAX} bytes")
    return place


def open_bucket(keys: AccountKeys, ciphertext: bytes) -> str:
    """Return the name of a bucket.

    Raises IntegrityError when it is not one of this account's.
    """
    return _text(_unpad(seal.siv_open(siv_key(keys.names_key()), ciphertext, keys.account)))


def open_child(keys: AccountKeys, parent: Place, ciphertext: bytes) -> tuple[str, Place]:
    """Return the name of a child of ``parent`` and the place it is.

    Raises IntegrityError when it is no child of it.
    """
    plain = _unpad(seal.siv_open(siv_key(parent.key), ciphertext, keys.account + parent.bucket))
    return _text(plain), Place(parent.bucket, (*parent.name, ciphertext), child_key(parent.key, plain))


def open_path(keys: AccountKeys, parent: Place, ciphertexts: tuple[bytes, ...]) -> tuple[tuple[str, ...], Place]:
    """Return the names of several components below ``parent`` and the place where they lead."""
    texts, place = [], parent
    for ciphertext in ciphertexts:
        text, place = open_child(keys, place, ciphertext)
        texts.append(text)
    return tuple(texts), place


def _bucket_place(keys: AccountKeys, bucket: bytes) -> Place:
    key = keys.names_key()
    ciphertext = seal.siv_seal(siv_key(key), _pad(bucket), keys.account)
    return Place(ciphertext, (), child_key(key, bucket))


def _child_place(keys: AccountKeys, parent: Place, component: bytes) -> Place:
    ciphertext = seal.siv_seal(siv_key(parent.key), _pad(component), keys.account + parent.bucket)
    return Place(parent.bucket, (*parent.name, ciphertext), child_key(parent.key, component))


def _pad(component: bytes) -> bytes:
    padded = component + PAD
    return padded + bytes(-len(padded) % BLOCK_BYTES)


def _unpad(padded: bytes) -> bytes:
    component, mark, rest = padded.rpartition(PAD)
    if not mark or rest.strip(b"\0") or _pad(component) != padded:
        raise IntegrityError("a decrypted name is not padded as names are")
    return component


def _text(component: bytes) -> str:
    try:
        text = component.decode()
        if clean_component(text) == text:
            return text
    except (UnicodeDecodeError, HippyError):
        pass
    raise IntegrityError("a decrypted name is not one that can be in a path")
