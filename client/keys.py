"""The keys of an account, all from its one seed (docs/PROTOCOL.md §2, §3.4).

Owns which key comes from which; the ciphers are hippy.seal's. Every key below the seed is derived with a
context or a domain of its own, so none opens anything but what it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hippy import seal
from hippy.hashing import kdf, keyed
from hippy.identity import Identity
from hippy.ids import PublicKey


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """An account that can sign, and the secret its encryption keys derive from."""

    identity: Identity
    secret: bytes = field(repr=False)

    @classmethod
    def of_seed(cls, seed: bytes) -> AccountKeys:
        """Return the keys of a 32-byte seed: it signs, and it is the account secret."""
        return cls(Identity.from_seed(seed), seed)

    @property
    def account(self) -> PublicKey:
        """The account's public key."""
        return self.identity.public_key

    def names_key(self) -> bytes:
        """Return the key under which bucket names are encrypted."""
        return kdf("names", self.secret)

    def extent_key(self, salt: bytes, plaintext_digest: bytes) -> bytes:
        """Return the key of one extent; ``salt`` is fresh for each."""
        return seal.extent_key(self.secret, salt, plaintext_digest)

    def seal_key(self, salt: bytes, ciphertext_digest: bytes) -> bytes:
        """Return the seal key of one segment; ``salt`` is fresh for each."""
        return seal.segment_seal_key(self.secret, salt, ciphertext_digest)


def child_key(key: bytes, component: bytes) -> bytes:
    """Return the key of what lies below ``component``, which is encrypted under ``key``."""
    return keyed(key, b"child" + component)


def siv_key(key: bytes) -> bytes:
    """Return the 64-byte AES-SIV key under which component names are encrypted."""
    return keyed(key, b"siv0") + keyed(key, b"siv1")


def manifest_key(key: bytes, salt: bytes) -> bytes:
    """Return the key of one version of an object's manifest; ``key`` is the child key of its last component."""
    return keyed(key, b"manifest" + salt)


def head_key(key: bytes, salt: bytes) -> bytes:
    """Return the key of one version of an object's head."""
    return keyed(key, b"head" + salt)
