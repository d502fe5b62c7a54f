"""Signed requests: the chain SDK understands ours, we understand the SDK's, and nothing else passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import AuthError
from hippy.identity import Identity, ss58_encode
from hippy.wire.btauth import (
    CRYPTO_HEADER,
    HOTKEY_HEADER,
    NONCE_HEADER,
    RECEIVER_HEADER,
    SIGNATURE_HEADER,
    VERSION_HEADER,
    NonceWindow,
    SignedRequest,
    sign_request,
    verify_request,
)

quick = settings(derandomize=True, deadline=None, max_examples=100)

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
SEED = b"c" * 32
CLIENT, SERVER, OTHER = (Identity.from_seed(seed) for seed in (SEED, b"s" * 32, b"o" * 32))
REQUEST = SignedRequest("POST", "/v1/commit?x=1&y=%20", b'{"a":1}')


@pytest.fixture(scope="module")
def sdk() -> Any:
    return pytest.importorskip("bittensor", reason="the chain SDK is not installed (extra: miner or validator)")


@pytest.fixture(scope="module")
def headers() -> dict[str, str]:
    return sign_request(CLIENT, REQUEST, receiver=SERVER.public_key, now_ns=NOW)


@dataclass(frozen=True)
class Check:
    """A request as it arrives."""

    headers: Mapping[str, str]
    request: SignedRequest = REQUEST
    receiver: Identity = SERVER
    now_ns: int = NOW

    def run(self, nonces: NonceWindow | None = None) -> bytes:
        receiver = self.receiver.public_key
        window = NonceWindow() if nonces is None else nonces
        return verify_request(self.headers, self.request, receiver=receiver, nonces=window, now_ns=self.now_ns)


def test_sender_of_a_signed_request_is_known(headers: dict[str, str]) -> None:
    assert Check(headers).run() == CLIENT.public_key


def test_headers_are_those_of_the_protocol(headers: dict[str, str]) -> None:
    assert list(headers) == [f"X-Bittensor-{name}" for name in ("Version", "Hotkey", "Nonce", "Receiver", "Signature")]
    assert headers[NONCE_HEADER] == "1800000000000000000"
    assert headers[SIGNATURE_HEADER].startswith("0x")


def test_signed_text_is_that_of_the_chain_sdk(sdk: Any) -> None:
    told = sdk.http_auth.build_payload(
        scheme="sr25519",
        method=REQUEST.method,
        path=REQUEST.target,
        body=REQUEST.body,
        nonce_ns=NOW,
        sender_ss58=CLIENT.ss58,
        receiver_ss58=SERVER.ss58,
    )
    assert REQUEST.payload(NOW, CLIENT.ss58, SERVER.ss58) == told


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256))])
def test_chain_sdk_accepts_our_requests(sdk: Any, body: bytes) -> None:
    request = replace(REQUEST, body=body)
    caller = sdk.http_auth.verify(
        sign_request(CLIENT, request, receiver=SERVER.public_key, now_ns=NOW),
        body,
        method=request.method,
        path=request.target,
        self_hotkey_ss58=SERVER.ss58,
        nonce_store=sdk.http_auth.InMemoryNonceStore(),
        now_ns=NOW,
    )
    assert caller.hotkey_ss58 == CLIENT.ss58


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256))])
def test_we_accept_requests_of_the_chain_sdk(sdk: Any, body: bytes) -> None:
    signed = sdk.http_auth.sign(
        sdk.sp_core.Keypair.create_from_seed(SEED),
        method="PUT",
        path="/v1/pieces/00?a=b",
        body=body,
        receiver_ss58=SERVER.ss58,
        nonce_ns=NOW,
    )
    assert Check(signed, SignedRequest("PUT", "/v1/pieces/00?a=b", body)).run() == CLIENT.public_key


def test_chain_sdk_request_without_receiver_is_refused(sdk: Any) -> None:
    keypair = sdk.sp_core.Keypair.create_from_seed(SEED)
    signed = sdk.http_auth.sign(keypair, method="POST", path=REQUEST.target, body=REQUEST.body, nonce_ns=NOW)
    with pytest.raises(AuthError, match="another receiver"):
        Check(signed).run()


def test_repeated_request_is_refused(headers: dict[str, str]) -> None:
    nonces = NonceWindow()
    Check(headers).run(nonces)
    with pytest.raises(AuthError, match="was sent before"):
        Check(headers).run(nonces)
    with pytest.raises(AuthError, match="was sent before"):
        Check({**headers, NONCE_HEADER: "0" + headers[NONCE_HEADER]}).run(nonces)


def test_same_nonce_of_another_sender_is_accepted(headers: dict[str, str]) -> None:
    nonces = NonceWindow()
    Check(headers).run(nonces)
    other = sign_request(OTHER, REQUEST, receiver=SERVER.public_key, now_ns=NOW)
    assert Check(other).run(nonces) == OTHER.public_key


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, method="PUT"),
        replace(REQUEST, method="post"),
        replace(REQUEST, target="/v1/commit"),
        replace(REQUEST, target="/v1/commit?x=1&y= "),
        replace(REQUEST, body=b""),
        replace(REQUEST, body=b'{"a":2}'),
        replace(REQUEST, target="/v1/\udce9"),
    ],
)
def test_altered_request_is_refused(headers: dict[str, str], request_: SignedRequest) -> None:
    with pytest.raises(AuthError, match="does not verify"):
        Check(headers, request_).run()


def test_request_for_another_receiver_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(AuthError, match="another receiver"):
        Check(headers, receiver=OTHER).run()
    with pytest.raises(AuthError, match="does not verify"):
        Check({**headers, RECEIVER_HEADER: OTHER.ss58}, receiver=OTHER).run()


@pytest.mark.parametrize("late_ns", [-2 * SECOND, 0, 10 * SECOND])
def test_request_is_fresh_for_ten_seconds(headers: dict[str, str], late_ns: int) -> None:
    assert Check(headers, now_ns=NOW + late_ns).run() == CLIENT.public_key


@pytest.mark.parametrize("late_ns", [-3 * SECOND, -2 * SECOND - 1000, 10 * SECOND + 1000, 3600 * SECOND])
def test_request_too_old_or_from_the_future_is_refused(headers: dict[str, str], late_ns: int) -> None:
    with pytest.raises(AuthError, match="too old or from the future"):
        Check(headers, now_ns=NOW + late_ns).run()


@pytest.mark.parametrize(
    "changes",
    [
        {VERSION_HEADER: "2"},
        {VERSION_HEADER: None},
        {HOTKEY_HEADER: None},
        {HOTKEY_HEADER: ""},
        {HOTKEY_HEADER: "5" * 48},
        {HOTKEY_HEADER: "é" * 48},
        {HOTKEY_HEADER: "\udce9" * 48},
        {HOTKEY_HEADER: ss58_encode(bytes(32))},
        {HOTKEY_HEADER: OTHER.ss58},
        {HOTKEY_HEADER: CLIENT.ss58[:-1]},
        {HOTKEY_HEADER: "5" * 60_000},
        {NONCE_HEADER: None},
        {NONCE_HEADER: ""},
        {NONCE_HEADER: "-1"},
        {NONCE_HEADER: "1.8e18"},
        {NONCE_HEADER: "1_800"},
        {NONCE_HEADER: "١٨"},
        {NONCE_HEADER: "9" * 20},
        {NONCE_HEADER: "9" * 60_000},
        {NONCE_HEADER: str(NOW + 1)},
        {RECEIVER_HEADER: None},
        {RECEIVER_HEADER: "-"},
        {SIGNATURE_HEADER: None},
        {SIGNATURE_HEADER: ""},
        {SIGNATURE_HEADER: "0x"},
        {SIGNATURE_HEADER: "0x" + "00" * 64},
        {SIGNATURE_HEADER: "0x" + "zz" * 64},
        {SIGNATURE_HEADER: "0x" + "é" * 128},
        {SIGNATURE_HEADER: "0x" + "00" * 63},
        {SIGNATURE_HEADER: "0x" + " a" * 64},
        {CRYPTO_HEADER: "ed25519"},
        {CRYPTO_HEADER: ""},
    ],
)
def test_malformed_header_is_an_auth_error(headers: dict[str, str], changes: dict[str, str | None]) -> None:
    altered = {name: value for name, value in {**headers, **changes}.items() if value is not None}
    with pytest.raises(AuthError):
        Check(altered).run()


def test_unsigned_request_is_refused() -> None:
    with pytest.raises(AuthError, match="not signed"):
        Check({}).run()


def test_zero_key_signs_no_request(headers: dict[str, str]) -> None:
    zero = ss58_encode(bytes(32))
    with pytest.raises(AuthError):
        Check({**headers, HOTKEY_HEADER: zero, SIGNATURE_HEADER: "0x" + "00" * 63 + "80"}).run()


def test_wrapped_signature_is_refused(headers: dict[str, str]) -> None:
    text = REQUEST.payload(NOW, CLIENT.ss58, SERVER.ss58)
    signature = CLIENT.sign(b"<Bytes>" + text + b"</Bytes>")
    with pytest.raises(AuthError, match="does not verify"):
        Check({**headers, SIGNATURE_HEADER: "0x" + signature.hex()}).run()


def test_forged_request_uses_up_no_nonce(headers: dict[str, str]) -> None:
    nonces = NonceWindow(limit=1)
    with pytest.raises(AuthError):
        Check(headers, replace(REQUEST, body=b"forged")).run(nonces)
    assert Check(headers).run(nonces) == CLIENT.public_key


def test_full_window_refuses_the_new_and_forgets_nothing_early() -> None:
    nonces = NonceWindow(limit=2)
    key = CLIENT.public_key
    nonces.admit(key, 1, NOW)
    nonces.admit(key, 2, NOW + SECOND)
    with pytest.raises(AuthError, match="too many signed requests") as caught:
        nonces.admit(key, 3, NOW + 12 * SECOND)
    assert caught.value.hint
    nonces.admit(key, 3, NOW + 12 * SECOND + 1)
    with pytest.raises(AuthError, match="was sent before"):
        nonces.admit(key, 2, NOW + 12 * SECOND + 1)


@pytest.mark.parametrize("ahead_ns", [-10 * SECOND, -SECOND, 0, SECOND, 2 * SECOND])
def test_nonce_is_remembered_as_long_as_it_is_fresh(headers: dict[str, str], ahead_ns: int) -> None:
    """Whenever a request first arrived, there is no instant at which a repeat is fresh and forgotten."""
    for later in range(14):
        nonces = NonceWindow()
        first = NOW - ahead_ns
        Check(headers, now_ns=first).run(nonces)
        with pytest.raises(AuthError, match=r"was sent before|too old"):
            Check(headers, now_ns=first + later * SECOND).run(nonces)


@quick
@given(
    values=st.lists(st.text(max_size=20) | st.text("0123456789abcdefx", max_size=132), min_size=6, max_size=6),
    kept=st.sets(st.integers(0, 5)),
)
def test_arbitrary_headers_raise_auth_errors_only(values: list[str], kept: set[int]) -> None:
    good = sign_request(CLIENT, REQUEST, receiver=SERVER.public_key, now_ns=NOW)
    names = (*good, CRYPTO_HEADER)
    altered = {**good, **{names[at]: values[at] for at in range(6) if at not in kept}}
    try:
        assert Check(altered).run() == CLIENT.public_key
    except AuthError:
        return
