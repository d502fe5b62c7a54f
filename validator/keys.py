"""The secrets a validator keeps beside its hotkey: made once, mode 0600, never sent anywhere.

``placement.secret`` makes placements unpredictable (PROTOCOL §3.1); ``envelope.key`` is the X25519 key to which
clients seal envelopes. Losing the first changes nothing that was placed; losing the second loses the right to
order repairs of what was committed under it. Back both up with the database. Blocking: tiny files, read at start.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hippy.errors import ConfigError
from hippy.identity import write_secret
from hippy.seal import KEY_BYTES, envelope_public_key
from hippy.validator.commit import EnvelopeKey
from hippy.validator.log import Home
from hippy.wire.node import EncryptionKey

KEY_ID: Final = 1
"""The only encryption key: it is not changed in this version."""

VALID_SECONDS: Final = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the files hold."""

    placement: bytes
    envelope: EnvelopeKey


def load_secrets(data_dir: Path) -> Secrets:
    """Read the secrets in ``data_dir``, making those that are missing.

    Raises ConfigError for a file that cannot be read or holds something else.
    """
    return Secrets(
        placement=_load(data_dir / "placement.secret"),
        envelope=EnvelopeKey(KEY_ID, _load(data_dir / "envelope.key")),
    )


def encryption_key(home: Home, key: EnvelopeKey, now: int) -> EncryptionKey:
    """Return the signed public half that the handshake shows."""
    unsigned = EncryptionKey(
        validator=home.hotkey,
        key_id=key.key_id,
        key=envelope_public_key(key.private_key),
        not_before=0,
        not_after=now + VALID_SECONDS,
    )
    return unsigned.signed(home.identity, home.network)


def _load(path: Path) -> bytes:
    try:
        if not path.exists():
            write_secret(path, secrets.token_bytes(KEY_BYTES))
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read or make {path}: {error.strerror}") from None
    if len(data) != KEY_BYTES:
        raise ConfigError(f"{path} is not a {KEY_BYTES}-byte secret", hint="restore it from a backup")
    return data
