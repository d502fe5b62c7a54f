"""Keys: sr25519 identities, their recovery phrase, and keyfiles that Bittensor wallets read.

The only importer of ``bittensor_core``, which is untyped. An :class:`Identity` signs; :func:`verify` checks.
An account, a hotkey and a coldkey are all the same kind of key. The phrase is BIP-39 with Substrate's
derivation, so the same words give the same key in ``btcli``; the 32-byte seed behind it is also the secret
from which a client derives its encryption keys (hippy.client.keys).

Two things the library accepts and we refuse (measured; docs/PROTOCOL.md §1): signatures by the all-zero key,
which verify for any message, and signatures over ``<Bytes>message</Bytes>``, which browser wallets make for
any web page that asks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import bittensor_core

from hippy.errors import AuthError, ConfigError, ProtocolError, UsageError
from hippy.ids import ID_BYTES, ZERO_ID, PublicKey

SIGNATURE_BYTES: Final = 64
SS58_FORMAT: Final = 42
SS58_CHARACTERS: Final = 48
"""Every SS58 address of a 32-byte key under format 42 has this length; checked before decoding, whose cost
grows with the square of the length."""

PHRASE_WORDS: Final = 12
KEYFILE_BYTES_MAX: Final = 64 * 1024


class Identity:
    """A key pair that can sign. Never printed, pickled or logged with its secret."""

    __slots__ = ("_keypair", "public_key", "ss58")

    def __init__(self, keypair: Any) -> None:
        self._keypair = keypair
        self.public_key = _checked(bytes(keypair.public_key))
        self.ss58: str = keypair.ss58_address

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """Return the identity of a 32-byte seed."""
        if len(seed) != ID_BYTES:
            raise UsageError(f"a seed has {ID_BYTES} bytes, not {len(seed)}")
        return cls(bittensor_core.Keypair.create_from_seed(seed))

    @classmethod
    def generate(cls) -> Identity:
        """Return a new identity from the machine's randomness."""
        return cls.from_seed(os.urandom(ID_BYTES))

    def sign(self, message: bytes) -> bytes:
        """Return a 64-byte signature (randomized: two signatures of one message differ)."""
        return bytes(self._keypair.sign(message))

    def keyfile(self) -> bytes:
        """Return the unencrypted keyfile, as the chain SDK's wallet writes it."""
        return bytes(bittensor_core.serialized_keypair_to_keyfile_data(self._keypair))

    def __repr__(self) -> str:
        return f"Identity({self.ss58})"

    def __reduce__(self) -> str:
        raise TypeError("an Identity is not pickled: it holds a secret")


def new_phrase() -> str:
    """Return a new recovery phrase of twelve words."""
    return str(bittensor_core.Keypair.generate_mnemonic(PHRASE_WORDS))


def seed_of_phrase(phrase: str) -> bytes:
    """Return the 32-byte seed behind a recovery phrase (Substrate's derivation, as in ``btcli``).

    Raises AuthError when the words or their checksum are wrong. The error never repeats the words.
    """
    normal = " ".join(phrase.split()).lower()
    try:
        keypair = bittensor_core.Keypair.create_from_mnemonic(normal)
    except ValueError:
        raise AuthError(
            "the recovery phrase is not valid",
            hint="check the spelling and order of its 12 words",
        ) from None
    stored = json.loads(bytes(bittensor_core.serialized_keypair_to_keyfile_data(keypair)))
    return bytes.fromhex(stored["secretSeed"].removeprefix("0x"))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` is by ``public_key`` over exactly ``message``."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != ID_BYTES or public_key == ZERO_ID:
        return False
    address = ss58_encode(public_key)
    if not bittensor_core.verify(message, signature, address, bittensor_core.CRYPTO_SR25519):
        return False
    wrapped = b"<Bytes>" + message + b"</Bytes>"
    return not bittensor_core.verify(wrapped, signature, address, bittensor_core.CRYPTO_SR25519)


def ss58_encode(public_key: bytes) -> str:
    """Return the address people see."""
    return str(bittensor_core.ss58_encode(public_key, SS58_FORMAT))


def ss58_decode(address: str) -> PublicKey:
    """Return the raw key of an address.

    Raises ProtocolError for anything but a 48-character address of format 42.
    """
    if len(address) != SS58_CHARACTERS or not address.isascii():
        raise ProtocolError("not an SS58 address of 48 characters")
    try:
        key = _checked(bytes(bittensor_core.ss58_decode(address)))
    except ValueError:
        raise ProtocolError("not a valid SS58 address") from None
    if ss58_encode(key) != address:
        raise ProtocolError("not the usual spelling of this SS58 address")
    return key


def _checked(key: bytes) -> PublicKey:
    if len(key) != ID_BYTES or key == ZERO_ID:
        raise ProtocolError("not a usable public key")
    return PublicKey(key)


def save_keyfile(identity: Identity, path: Path) -> None:
    """Write an unencrypted keyfile with mode 0600, whole or not at all.

    Raises ConfigError when a file is there already: a key is never overwritten.
    """
    write_secret(path, identity.keyfile())


def load_keyfile(path: Path) -> Identity:
    """Read an unencrypted keyfile of ours or of the chain SDK.

    Raises ConfigError when it is missing, unreadable, encrypted or no keyfile.
    """
    data = _read_keyfile(path)
    if bittensor_core.keyfile_data_is_encrypted(data):
        raise ConfigError(
            f"the keyfile {path} is encrypted",
            hint="a server needs an unencrypted hotkey; the coldkey stays elsewhere",
        )
    return _deserialized(data, path)


def is_encrypted(path: Path) -> bool:
    """Return whether a keyfile is under a password.

    Raises ConfigError when it cannot be read.
    """
    return bool(bittensor_core.keyfile_data_is_encrypted(_read_keyfile(path)))


def load_encrypted_keyfile(path: Path, password: str) -> Identity:
    """Read a keyfile that is under a password, as the chain SDK keeps coldkeys; the library takes some 3 s for it.

    Raises AuthError for another password, ConfigError for what is no encrypted keyfile. No error repeats the password.
    """
    data = _read_keyfile(path)
    if not bittensor_core.keyfile_data_is_encrypted(data):
        raise ConfigError(f"the keyfile {path} is not encrypted")
    try:
        opened = bytes(bittensor_core.decrypt_keyfile_data(data, password))
    except bittensor_core.WrongPasswordError:
        raise AuthError(f"the password does not open the keyfile {path}") from None
    except (ValueError, bittensor_core.KeyfileError):
        raise ConfigError(f"the encrypted keyfile {path} is damaged") from None
    return _deserialized(opened, path)


def _read_keyfile(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(KEYFILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"cannot read the keyfile {path}: {error.strerror}") from None


def _deserialized(data: bytes, path: Path) -> Identity:
    """Return the key that an unencrypted keyfile holds; ``path`` is for the errors."""
    try:
        keypair = bittensor_core.deserialize_keypair_from_keyfile_data(data)
        keypair.sign(b"")  # a file of the public half loads too, and would fail at the first signature
    except (ValueError, bittensor_core.KeyfileError):
        raise ConfigError(f"{path} is not a keyfile with a secret key") from None
    if keypair.crypto_type != bittensor_core.CRYPTO_SR25519:
        raise ConfigError(f"the key in {path} is not an sr25519 key")
    return Identity(keypair)


def write_secret(path: Path, data: bytes) -> None:
    """Create ``path`` with mode 0600, durable, whole or not at all.

    Raises ConfigError when it exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # a crash of a process with our number left it
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike rename, it never replaces
        _sync_directory(path.parent)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is not overwritten") from None
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
