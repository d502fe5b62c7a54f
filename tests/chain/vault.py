"""A keyfile under a password, for tests.

The chain's tools write NaCl envelopes, whose key takes 3 s to derive; they also read Ansible vaults, which older ones
wrote and which take 7 ms. Where the envelope does not matter, tests use these.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hippy.identity import Identity

PASSWORD = "correct horse 1!"
_HEADER = b"$ANSIBLE_VAULT;1.1;AES256\n"
_BLOCK_BYTES = 16


def locked_keyfile(identity: Identity, password: str = PASSWORD) -> bytes:
    """Return the identity's keyfile as an Ansible vault."""
    return vault(identity.keyfile(), password)


def vault(plain: bytes, password: str = PASSWORD) -> bytes:
    """Return an Ansible vault (with a fixed salt) of anything."""
    salt = bytes(32)
    keys = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 10_000, 80)
    padding = _BLOCK_BYTES - len(plain) % _BLOCK_BYTES
    encryptor = Cipher(algorithms.AES(keys[:32]), modes.CTR(keys[64:])).encryptor()
    sealed = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    tag = hmac.new(keys[32:64], sealed, hashlib.sha256).digest()
    return _HEADER + "\n".join(part.hex() for part in (salt, tag, sealed)).encode().hex().encode() + b"\n"
