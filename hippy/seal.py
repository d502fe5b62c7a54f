"""Every cipher of the protocol: key streams over extents and pieces, envelopes, and sealed small things.

Owns how keys become bytes (PROTOCOL §2, §3). Leaves to the caller where keys come from and where randomness
does: nothing here draws any, except that HPKE makes its own ephemeral key.

- *Extents* are encrypted by their owner with AES-256-CTR; only the client has these keys.
- *Pieces* are sealed once more under a stream of their own, so that the pieces of a segment look independent.
- An *envelope* gives a segment's seal key to one validator, bound to network, account, segment and key.
- Manifests are AES-256-GCM, names AES-SIV.

Invariants: a stream is XORed in place, and twice is not at all; any offset gives the same bytes as cutting
the whole; every key serves one plaintext (its derivation takes a fresh salt and the plaintext's digest), which
is why zero counters and zero nonces are sound. CTR carries no tag: Merkle roots vouch for the bytes. Streams
run at gigabytes a second and release the GIL (two threads measured 1.7 times one): megabytes belong in a thread.

Example::

    key = extent_key(secret, salt, digest(plaintext))
    xor_extent(key, buffer)                 # encrypt
    xor_extent(key, buffer[100:], 100)      # decrypt from byte 100 on
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hippy.errors import IntegrityError, ProtocolError
from hippy.hashing import HASH_BYTES, kdf, keyed, u16, u32
from hippy.ids import ID_BYTES, NetworkId, PublicKey, SegmentId

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
SIV_KEY_BYTES: Final = 64
TAG_BYTES: Final = 16
"""What AES-GCM and AES-SIV add to a plaintext."""

ENVELOPE_BYTES: Final = 32 + KEY_BYTES + TAG_BYTES
"""Length of an envelope: HPKE's encapsulated key, the seal key, the tag."""

_BLOCK_BYTES: Final = 16
_NONCE_ZERO: Final = bytes(12)
_ENVELOPE_INFO: Final = b"hippy/1 seal"
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def extent_key(account_secret: bytes, salt: bytes, plaintext_digest: bytes) -> bytes:
    """Return an extent's key: H(kdf(extent, account_secret); salt ‖ BLAKE3(plaintext)), 32 bytes."""
    return _content_key("extent", account_secret, salt, plaintext_digest)


def segment_seal_key(account_secret: bytes, salt: bytes, ciphertext_digest: bytes) -> bytes:
    """Return a segment's seal key: H(kdf(seal, account_secret); salt ‖ BLAKE3(ciphertext)), 32 bytes."""
    return _content_key("seal", account_secret, salt, ciphertext_digest)


def _content_key(context: str, account_secret: bytes, salt: bytes, content_digest: bytes) -> bytes:
    assert len(salt) == SALT_BYTES
    assert len(content_digest) == HASH_BYTES
    return keyed(kdf(context, account_secret), salt, content_digest)


def xor_extent(key: bytes, buffer: bytearray | memoryview, offset: int = 0) -> None:
    """Encrypt or decrypt in place the bytes of an extent from ``offset`` on (AES-256-CTR from block zero)."""
    _xor_stream(key, 0, buffer, offset)


def xor_seal(seal_key: bytes, index: int, buffer: bytearray | memoryview, offset: int = 0) -> None:
    """Seal or unseal in place the bytes of piece ``index`` from ``offset`` on.

    The counter starts at u16 index ‖ 14 zero bytes, so the streams of two pieces are 2^112 blocks apart.
    """
    _xor_stream(seal_key, int.from_bytes(u16(index) + bytes(14), "big"), buffer, offset)


def _xor_stream(key: bytes, first_block: int, buffer: bytearray | memoryview, offset: int) -> None:
    assert len(key) == KEY_BYTES  # a shorter key would quietly be AES-128
    blocks, skip = divmod(offset, _BLOCK_BYTES)
    counter = (first_block + blocks).to_bytes(_BLOCK_BYTES, "big")
    stream = Cipher(AES(key), CTR(counter)).encryptor()
    stream.update(bytes(skip))
    stream.update_into(buffer, buffer)


def envelope_info(
    network: NetworkId,
    netuid: int,
    account: PublicKey,
    segment_id: SegmentId,
    validator: PublicKey,
    key_id: int,
) -> bytes:
    """Return what an envelope is bound to (PROTOCOL §3.3); it opens under no other."""
    assert all(len(each) == ID_BYTES for each in (network, account, segment_id, validator))
    return _ENVELOPE_INFO + network + u16(netuid) + account + segment_id + validator + u32(key_id)


def envelope_public_key(private_key: bytes) -> bytes:
    """Return the raw 32-byte X25519 public key of a raw 32-byte private key."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def seal_envelope(seal_key: bytes, public_key: bytes, info: bytes) -> bytes:
    """Return ``seal_key`` encrypted to a raw X25519 public key, ENVELOPE_BYTES long (HPKE base mode).

    Raises ProtocolError if the public key, which a validator chose, is none.
    """
    assert len(seal_key) == KEY_BYTES
    try:
        return _SUITE.encrypt(seal_key, X25519PublicKey.from_public_bytes(public_key), info=info)
    except ValueError as error:
        raise ProtocolError(f"{public_key[:KEY_BYTES].hex()} is not an X25519 encryption key") from error


def open_envelope(ciphertext: bytes, private_key: bytes, info: bytes) -> bytes:
    """Return the 32-byte seal key in an envelope made for this private key and ``info``.

    Raises IntegrityError if it was made for another, was altered or holds something else.
    """
    if len(ciphertext) != ENVELOPE_BYTES:
        raise IntegrityError(f"an envelope has {ENVELOPE_BYTES} bytes, not {len(ciphertext)}")
    try:
        return _SUITE.decrypt(ciphertext, X25519PrivateKey.from_private_bytes(private_key), info=info)
    except InvalidTag as error:
        raise IntegrityError("the seal envelope does not open with this key for this segment") from error


def aead_seal(key: bytes, plaintext: bytes | memoryview, associated_data: bytes) -> bytes:
    """Return ``plaintext`` under AES-256-GCM with nonce zero, 16 bytes longer.

    ``key`` must be derived with a fresh salt for this one plaintext: a second one under it breaks both.
    """
    assert len(key) == KEY_BYTES  # a shorter key would quietly be AES-128
    return AESGCM(key).encrypt(_NONCE_ZERO, plaintext, associated_data)


def aead_open(key: bytes, ciphertext: bytes | memoryview, associated_data: bytes) -> bytes:
    """Return the plaintext of :func:`aead_seal`.

    Raises IntegrityError if key, ciphertext or associated data are not those it was sealed with.
    """
    assert len(key) == KEY_BYTES
    try:
        return AESGCM(key).decrypt(_NONCE_ZERO, ciphertext, associated_data)
    except InvalidTag as error:
        raise IntegrityError("sealed data does not open: it was altered, or is somebody else's") from error


def siv_seal(key: bytes, plaintext: bytes | memoryview, associated_data: bytes) -> bytes:
    """Return ``plaintext`` under AES-SIV (64-byte key), 16 bytes longer; equal inputs give equal outputs."""
    assert len(key) == SIV_KEY_BYTES
    return AESSIV(key).encrypt(plaintext, [associated_data])


def siv_open(key: bytes, ciphertext: bytes | memoryview, associated_data: bytes) -> bytes:
    """Return the plaintext of :func:`siv_seal`.

    Raises IntegrityError if key, ciphertext or associated data are not those it was sealed with.
    """
    assert len(key) == SIV_KEY_BYTES
    try:
        return AESSIV(key).decrypt(ciphertext, [associated_data])
    except InvalidTag as error:
        raise IntegrityError("a sealed name does not open: it was altered, or is somebody else's") from error
