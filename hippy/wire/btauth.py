"""btauth/1: HTTP requests signed by a hotkey or account, as the chain SDK signs them.

Signed text, joined by newlines: ``btauth/1``, scheme, METHOD, path?query as sent, sha256 hex of the body,
nonce (Unix nanoseconds), sender, receiver (both SS58). tests/wire/test_btauth.py proves both directions against
``bittensor.http_auth``; this module exists because the client does without the SDK. A request is always bound
to its receiver, and a nonce is accepted once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hippy.errors import AuthError, ProtocolError
from hippy.identity import SIGNATURE_BYTES, SS58_CHARACTERS, Identity, ss58_decode, ss58_encode, verify
from hippy.ids import PublicKey

VERSION_HEADER: Final = "X-Bittensor-Version"
HOTKEY_HEADER: Final = "X-Bittensor-Hotkey"
NONCE_HEADER: Final = "X-Bittensor-Nonce"
RECEIVER_HEADER: Final = "X-Bittensor-Receiver"
SIGNATURE_HEADER: Final = "X-Bittensor-Signature"
CRYPTO_HEADER: Final = "X-Bittensor-Crypto"

MAX_AGE_SECONDS: Final = 10.0
ALLOWED_SKEW_SECONDS: Final = 2.0
"""The chain SDK's own defaults."""

NONCE_DIGITS_MAX: Final = 20
NONCES_MAX: Final = 200_000
"""Nonces remembered; at the window of 12 s this is 16,000 signed requests a second."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a btauth/1 signature covers."""

    method: str
    target: str
    body: bytes

    def payload(self, nonce_ns: int, sender: str, receiver: str) -> bytes:
        """Return the signed text."""
        body_hash = hashlib.sha256(self.body).hexdigest()
        lines = ("btauth/1", "sr25519", self.method, self.target, body_hash, str(nonce_ns), sender, receiver)
        return "\n".join(lines).encode("utf-8", "surrogateescape")  # as aiohttp decodes a target


def sign_request(identity: Identity, request: SignedRequest, *, receiver: PublicKey, now_ns: int) -> dict[str, str]:
    """Return the headers that sign ``request``; every retry needs a new ``now_ns``."""
    receiver_ss58 = ss58_encode(receiver)
    signature = identity.sign(request.payload(now_ns, identity.ss58, receiver_ss58))
    return {
        VERSION_HEADER: "1",
        HOTKEY_HEADER: identity.ss58,
        NONCE_HEADER: str(now_ns),
        RECEIVER_HEADER: receiver_ss58,
        SIGNATURE_HEADER: "0x" + signature.hex(),
    }


class NonceWindow:
    """Nonces seen inside the freshness window. When it is full, new ones wait: nothing is forgotten early."""

    def __init__(self, limit: int = NONCES_MAX) -> None:
        self._seen: OrderedDict[tuple[PublicKey, int], int] = OrderedDict()
        self._limit = limit

    def admit(self, sender: PublicKey, nonce_ns: int, now_ns: int) -> None:
        """Remember a nonce whose signature was verified.

        Raises AuthError when it was used before, or when the window is full.
        """
        lifetime_ns = int((MAX_AGE_SECONDS + ALLOWED_SKEW_SECONDS) * 1e9)
        while self._seen and next(iter(self._seen.values())) < now_ns - lifetime_ns:
            self._seen.popitem(last=False)
        if (sender, nonce_ns) in self._seen:
            raise AuthError("this request was sent before")
        if len(self._seen) >= self._limit:
            raise AuthError("too many signed requests at once", hint="try again in a few seconds")
        self._seen[sender, nonce_ns] = now_ns


def verify_request(
    headers: Mapping[str, str],
    request: SignedRequest,
    *,
    receiver: PublicKey,
    nonces: NonceWindow,
    now_ns: int,
) -> PublicKey:
    """Return the key that signed the request.

    ``headers`` must look names up without regard to case. Raises AuthError when the request is unsigned,
    signed for another receiver, too old, forged or repeated. Authenticated is not authorised.
    """
    sender_ss58, nonce_ns, signature = _read_headers(headers)
    receiver_ss58 = ss58_encode(receiver)
    if headers.get(RECEIVER_HEADER) != receiver_ss58:
        raise AuthError("the request is signed for another receiver")
    if not -ALLOWED_SKEW_SECONDS * 1e9 <= now_ns - nonce_ns <= MAX_AGE_SECONDS * 1e9:
        raise AuthError("the signature is too old or from the future", hint="check both clocks (NTP)")
    try:
        sender = ss58_decode(sender_ss58)
    except ProtocolError as error:
        raise AuthError(f"the request's sender is {error.message}") from None
    if not verify(sender, request.payload(nonce_ns, sender_ss58, receiver_ss58), signature):
        raise AuthError("the request's signature does not verify")
    nonces.admit(sender, nonce_ns, now_ns)
    return sender


def _read_headers(headers: Mapping[str, str]) -> tuple[str, int, bytes]:
    """Return sender, nonce and signature; cheap checks only, before any cryptography."""
    sender, nonce = headers.get(HOTKEY_HEADER, ""), headers.get(NONCE_HEADER, "")
    signature = headers.get(SIGNATURE_HEADER, "").removeprefix("0x")
    if headers.get(VERSION_HEADER) != "1" or len(sender) != SS58_CHARACTERS:
        raise AuthError("the request is not signed")
    if headers.get(CRYPTO_HEADER, "sr25519") != "sr25519":
        raise AuthError("only sr25519 signatures are accepted")
    if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= NONCE_DIGITS_MAX):
        raise AuthError("the request's nonce is not a number")
    try:
        raw = bytes.fromhex(signature) if len(signature) == 2 * SIGNATURE_BYTES else b""
    except ValueError:
        raw = b""
    if not raw:
        raise AuthError("the request's signature is not 64 bytes of hex")
    return sender, int(nonce), raw
