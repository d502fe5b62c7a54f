"""Key streams, envelopes and sealed small things (PROTOCOL §2, §3.3).

The streams' slow reference is AES on one counter block at a time. Frozen values name protocol version 1.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hippy.erasure.codec import Codec
from hippy.errors import IntegrityError, ProtocolError
from hippy.hashing import digest, kdf, keyed
from hippy.ids import NetworkId, PublicKey, SegmentId
from hippy.seal import (
    ENVELOPE_BYTES,
    aead_open,
    aead_seal,
    envelope_info,
    envelope_public_key,
    extent_key,
    open_envelope,
    seal_envelope,
    segment_seal_key,
    siv_open,
    siv_seal,
    xor_extent,
    xor_seal,
)

quick = settings(derandomize=True, deadline=None, max_examples=60)

KEY = bytes(range(32))
SIV_KEY = bytes(range(64))
PRIVATE = bytes([7]) * 32
INFO = envelope_info(
    NetworkId(b"n" * 32), 0x0102, PublicKey(b"a" * 32), SegmentId(b"s" * 32), PublicKey(b"v" * 32), 0x01020304
)


def extent_stream(length: int, offset: int = 0, key: bytes = KEY) -> bytes:
    buffer = bytearray(length)
    xor_extent(key, buffer, offset)
    return bytes(buffer)


def seal_stream(index: int, length: int, offset: int = 0, key: bytes = KEY) -> bytes:
    buffer = bytearray(length)
    xor_seal(key, index, buffer, offset)
    return bytes(buffer)


def reference_stream(first_block: bytes, length: int) -> bytes:
    """CTR as its definition has it: AES of a 128-bit big-endian counter, block after block."""
    aes = Cipher(AES(KEY), ECB()).encryptor()  # one block at a time is what CTR is made of
    start = int.from_bytes(first_block, "big")
    counters = b"".join((start + i).to_bytes(16, "big") for i in range(length // 16 + 1))
    return aes.update(counters)[:length]


def test_an_extents_counter_starts_at_zero() -> None:
    assert extent_stream(5000) == reference_stream(bytes(16), 5000)


@pytest.mark.parametrize("index", [0, 1, 23, 254, 255, 256, 0x1234, 65535])
def test_a_pieces_counter_starts_at_its_index(index: int) -> None:
    first_block = index.to_bytes(2, "little") + bytes(14)
    assert seal_stream(index, 5000) == reference_stream(first_block, 5000)


@quick
@given(st.integers(0, 3000), st.integers(0, 200))
@example(16, 16)
@example(17, 0)
@example(15, 2)
def test_a_stream_at_an_offset_is_a_slice_of_the_whole(offset: int, length: int) -> None:
    assert extent_stream(length, offset) == extent_stream(3200)[offset : offset + length]
    assert seal_stream(9, length, offset) == seal_stream(9, 3200)[offset : offset + length]


def test_offsets_count_far_beyond_32_bits() -> None:
    offset = 2**40 + 5
    expected = reference_stream((2**36).to_bytes(16, "big"), 100)[5:]
    assert extent_stream(95, offset) == expected


def test_a_stream_is_applied_in_place_and_twice_is_not_at_all() -> None:
    buffer = bytearray(b"..hello..")
    streams: list[Callable[[memoryview], None]] = [
        lambda view: xor_extent(KEY, view, 3),
        lambda view: xor_seal(KEY, 4, view, 3),
    ]
    for apply in streams:
        apply(memoryview(buffer)[2:7])
        assert buffer[:2] + buffer[7:] == b"...."
        assert buffer[2:7] != b"hello"
        apply(memoryview(buffer)[2:7])
        assert buffer == b"..hello.."


def test_pieces_of_a_segment_have_unlike_streams() -> None:
    assert len({seal_stream(index, 16) for index in range(256)}) == 256


def test_bytes_that_cannot_be_written_are_not() -> None:
    frozen = memoryview(bytes(4))
    with pytest.raises(TypeError):
        xor_extent(KEY, frozen)
    assert frozen == bytes(4)


def test_keys_are_derived_as_the_protocol_says() -> None:
    secret, salt, content = b"account secret", b"s" * 32, digest(b"content")
    assert extent_key(secret, salt, content) == keyed(kdf("extent", secret), salt + content)
    assert segment_seal_key(secret, salt, content) == keyed(kdf("seal", secret), salt + content)


@pytest.mark.parametrize("derive", [extent_key, segment_seal_key])
def test_keys_depend_on_secret_salt_and_content(derive: Callable[[bytes, bytes, bytes], bytes]) -> None:
    one, two = b"1" * 32, b"2" * 32
    keys = {derive(one, one, one), derive(two, one, one), derive(one, two, one), derive(one, one, two)}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_known_answers_stay_what_they_are() -> None:
    """Frozen with protocol version 1."""
    assert (
        extent_key(KEY, bytes(32), digest(b"")).hex()
        == "beec9570efa78fddda228c32e4a316fcd5a309307e7dcecc93ecd003194a0169"
    )
    assert (
        segment_seal_key(KEY, bytes(32), digest(b"")).hex()
        == "20147c6bc47bf7832a9e82e6feb7180c83d4bbc95af5cbca17873607567dad52"
    )
    assert extent_stream(20, 7).hex() == "d0a9f39a6add2e7780f05d76ae4ab99fe5a6f69b"
    assert seal_stream(258, 20, 7).hex() == "98bc87d98662967c1723aaae2ada18a3ada263d1"
    assert aead_seal(KEY, b"manifest", b"row").hex() == "63dddbb7d349f0c9f0d01c0de6cfd9cb17942cb7a117e8e4"
    assert siv_seal(SIV_KEY, b"name", b"bucket").hex() == "4574ff4645403a315620b51cffb565607a85491f"
    assert envelope_public_key(PRIVATE).hex() == "13be4feaeaf204c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d"


def test_a_known_envelope_opens() -> None:
    """Frozen with protocol version 1; made once, since every envelope has a fresh ephemeral key."""
    envelope = (
        "fb9bf6df4f369336911253e008116d6f4719d20b678b60e437725baa099d5f55512cab053213939c"
        "f3d03faa1070d52bf1d11eb9550ea133a173de13c5d109fae9d813384e886457d330e91460d270d0"
    )
    assert open_envelope(bytes.fromhex(envelope), PRIVATE, INFO) == KEY


def test_an_envelope_is_bound_to_these_bytes() -> None:
    expected = b"hippy/1 seal" + b"n" * 32 + b"\2\1" + b"a" * 32 + b"s" * 32 + b"v" * 32 + b"\4\3\2\1"
    assert expected == INFO


def test_an_envelope_opens_only_for_its_key_and_info() -> None:
    envelope = seal_envelope(KEY, envelope_public_key(PRIVATE), INFO)
    assert len(envelope) == ENVELOPE_BYTES
    assert open_envelope(envelope, PRIVATE, INFO) == KEY
    for private, info in ((b"8" * 32, INFO), (PRIVATE, INFO + b"x"), (PRIVATE, b"")):
        with pytest.raises(IntegrityError):
            open_envelope(envelope, private, info)


@quick
@given(st.integers(0, ENVELOPE_BYTES * 8 - 1))
def test_any_flipped_bit_of_an_envelope_is_caught(bit: int) -> None:
    envelope = bytearray(seal_envelope(KEY, envelope_public_key(PRIVATE), INFO))
    envelope[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        open_envelope(bytes(envelope), PRIVATE, INFO)


@pytest.mark.parametrize("envelope", [b"", b"x", bytes(ENVELOPE_BYTES - 1), bytes(ENVELOPE_BYTES)])
def test_what_is_no_envelope_does_not_open(envelope: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_envelope(envelope, PRIVATE, INFO)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_envelope_that_holds_something_else_does_not_open(length: int) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    public = X25519PrivateKey.from_private_bytes(PRIVATE).public_key()
    with pytest.raises(IntegrityError, match="80 bytes"):
        open_envelope(suite.encrypt(bytes(length), public, info=INFO), PRIVATE, INFO)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_validators_bad_key_is_its_fault(public: bytes) -> None:
    with pytest.raises(ProtocolError, match="not an X25519"):
        seal_envelope(KEY, public, INFO)


@pytest.mark.parametrize(("seal", "unseal", "key"), [(aead_seal, aead_open, KEY), (siv_seal, siv_open, SIV_KEY)])
def test_sealed_data_opens_only_unaltered_under_its_key_and_data(
    seal: Callable[[bytes, bytes, bytes], bytes],
    unseal: Callable[[bytes, bytes, bytes], bytes],
    key: bytes,
) -> None:
    for plaintext in (b"x" * 16, b"", b"y" * 1000):
        sealed = seal(key, plaintext, b"data")
        assert len(sealed) == len(plaintext) + 16
        assert unseal(key, sealed, b"data") == plaintext
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    other_key = bytes([key[0] ^ 1]) + key[1:]
    for wrong in ((other_key, sealed, b"data"), (key, sealed, b"date"), (key, flipped, b"data")):
        with pytest.raises(IntegrityError):
            unseal(*wrong)
    for cut in (sealed[:-1], sealed[:15], b""):
        with pytest.raises(IntegrityError):
            unseal(key, cut, b"data")


def xored(one: bytes, two: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def combined(codec: Codec, sources: dict[int, bytes], wanted: int) -> bytes:
    output = bytearray(len(next(iter(sources.values()))))
    codec.reconstruct(sources, {wanted: memoryview(output)})
    return bytes(output)


@pytest.mark.parametrize("wanted", [0, 5])
def test_a_lost_sealed_piece_is_rebuilt_from_sealed_pieces_and_one_mask(wanted: int) -> None:
    """PROTOCOL §7: the new miner sees k sealed pieces and the mask, the key holder only streams."""
    codec, length = Codec(3, 6), 50
    parity = [bytearray(length) for _ in range(3)]
    data = [extent_stream(length, key=bytes([i]) * 32) for i in range(3)]
    codec.encode(data, [memoryview(each) for each in parity])
    streams = {index: seal_stream(index, length) for index in range(6)}
    sealed = {i: xored(piece, streams[i]) for i, piece in enumerate([*data, *map(bytes, parity)])}
    sources = [1, 2, 4]

    mask = xored(combined(codec, {i: streams[i] for i in sources}, wanted), streams[wanted])
    assert xored(combined(codec, {i: sealed[i] for i in sources}, wanted), mask) == sealed[wanted]
