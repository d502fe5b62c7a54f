"""Keys are those of Bittensor wallets, secrets stay where they belong, and signatures mean what they say."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import AuthError, ConfigError, ProtocolError, UsageError
from hippy.identity import (
    KEYFILE_BYTES_MAX,
    Identity,
    is_encrypted,
    load_encrypted_keyfile,
    load_keyfile,
    new_phrase,
    save_keyfile,
    seed_of_phrase,
    ss58_decode,
    ss58_encode,
    verify,
    write_secret,
)
from tests.chain.vault import PASSWORD, locked_keyfile, vault

quick = settings(derandomize=True, deadline=None, max_examples=100)

# The development phrase of Substrate, whose keys its documentation lists.
PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
PHRASE_SEED = "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e"
PHRASE_KEY = "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a"
PHRASE_SS58 = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"

SEED = bytes(range(32))
ALICE = Identity.from_seed(SEED)


@pytest.fixture(scope="module")
def sdk() -> Any:
    return pytest.importorskip("bittensor", reason="the chain SDK is not installed (extra: miner or validator)")


def test_known_phrase_gives_the_known_key() -> None:
    assert seed_of_phrase(PHRASE).hex() == PHRASE_SEED
    identity = Identity.from_seed(seed_of_phrase(PHRASE))
    assert (identity.public_key.hex(), identity.ss58) == (PHRASE_KEY, PHRASE_SS58)


def test_seed_of_zero_entropy_is_pbkdf2_over_the_entropy() -> None:
    """Substrate stretches the entropy, where BIP-39 stretches the words."""
    phrase = "abandon " * 11 + "about"
    assert seed_of_phrase(phrase) == hashlib.pbkdf2_hmac("sha512", bytes(16), b"mnemonic", 2048)[:32]


def test_phrase_may_be_typed_carelessly() -> None:
    assert seed_of_phrase(f"\n  {PHRASE.upper().replace(' ', '   ')}\t").hex() == PHRASE_SEED


def test_new_phrase_has_twelve_words_and_is_new() -> None:
    phrases = {new_phrase() for _ in range(5)}
    assert len(phrases) == 5
    for phrase in phrases:
        assert len(phrase.split()) == 12
        assert len(seed_of_phrase(phrase)) == 32


@pytest.mark.parametrize(
    "phrase",
    ["", "bottom", PHRASE + " walk", PHRASE.replace("walk", "fit"), PHRASE.replace("walk", "wolk"), "é" * 12, "\0"],
)
def test_wrong_phrase_is_refused_without_repeating_it(phrase: str) -> None:
    with pytest.raises(AuthError, match="the recovery phrase is not valid") as caught:
        seed_of_phrase(phrase)
    shown = "".join(traceback.format_exception(caught.value))
    assert "lonely" not in shown
    assert "lonely" not in repr(caught.value)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(UsageError, match=f"a seed has 32 bytes, not {length}"):
        Identity.from_seed(bytes(length))


def test_generated_identities_differ() -> None:
    assert Identity.generate().public_key != Identity.generate().public_key


class TestSignatures:
    @quick
    @given(message=st.binary(max_size=100))
    def test_signature_verifies_for_its_key_and_message_alone(self, message: bytes) -> None:
        signature = ALICE.sign(message)
        assert len(signature) == 64
        assert verify(ALICE.public_key, message, signature)
        assert not verify(ALICE.public_key, message + b"x", signature)
        assert not verify(Identity.from_seed(b"b" * 32).public_key, message, signature)

    def test_every_flipped_bit_of_a_signature_is_caught(self) -> None:
        signature = int.from_bytes(ALICE.sign(b"m"), "big")
        for bit in range(512):
            assert not verify(ALICE.public_key, b"m", (signature ^ (1 << bit)).to_bytes(64, "big"))

    @pytest.mark.parametrize("length", [0, 63, 65, 128])
    def test_signature_of_another_length_is_refused(self, length: int) -> None:
        assert not verify(ALICE.public_key, b"m", bytes(length))

    @pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32), b"\xff" * 32])
    @pytest.mark.parametrize("signature", [bytes(64), bytes(63) + b"\x80", b"\xff" * 64])
    def test_impossible_key_signs_nothing(self, key: bytes, signature: bytes) -> None:
        assert not verify(key, b"m", signature)

    def test_library_lets_the_zero_key_sign_anything_so_our_check_matters(self, sdk: Any) -> None:
        forged, zero = bytes(63) + b"\x80", ss58_encode(bytes(32))
        assert sdk.sp_core.verify(b"any message", forged, zero, 1)
        assert not verify(bytes(32), b"any message", forged)

    def test_wrapped_signature_is_refused_where_the_library_takes_it(self, sdk: Any) -> None:
        signature = ALICE.sign(b"<Bytes>m</Bytes>")
        assert sdk.sp_core.verify(b"m", signature, ALICE.ss58, 1)
        assert not verify(ALICE.public_key, b"m", signature)


class TestSs58:
    @quick
    @given(key=st.binary(min_size=32, max_size=32).filter(any))
    def test_every_key_survives(self, key: bytes) -> None:
        address = ss58_encode(key)
        assert len(address) == 48
        assert ss58_decode(address) == key

    @pytest.mark.parametrize(
        "address",
        [
            "",
            PHRASE_SS58[:-1],
            PHRASE_SS58 + "V",
            PHRASE_SS58[:-1] + "W",
            " " + PHRASE_SS58[1:],
            PHRASE_SS58[:20] + "0" + PHRASE_SS58[21:],
            PHRASE_SS58[:20] + "é" + PHRASE_SS58[21:],
            "5" * 48,
            "1" * 48,
            "5" * 100_000,
            "0x" + PHRASE_KEY,
            PHRASE_KEY,
            ss58_encode(bytes(32)),
            "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM",  # the all-zero key, as others print it
            "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",  # a Kusama address, 47 characters
            "D34dL5prEUaGNQtPPZ3yN5Y6BnkfXunKXXz6fo7ZJbLwRRHx",  # not format 42
        ],
    )
    def test_anything_else_is_refused(self, address: str) -> None:
        with pytest.raises(ProtocolError):
            ss58_decode(address)

    @quick
    @given(at=st.integers(0, 47), character=st.characters())
    def test_one_wrong_character_is_caught(self, at: int, character: str) -> None:
        altered = PHRASE_SS58[:at] + character + PHRASE_SS58[at + 1 :]
        if altered != PHRASE_SS58:
            with pytest.raises(ProtocolError):
                ss58_decode(altered)


class TestSecrets:
    def test_identity_shows_its_address_only(self) -> None:
        assert repr(ALICE) == f"Identity({ALICE.ss58})"
        assert str(ALICE) == repr(ALICE)
        assert SEED.hex() not in repr([getattr(ALICE, name) for name in ("public_key", "ss58", "_keypair")])

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_identity_is_not_pickled(self, protocol: int) -> None:
        with pytest.raises(TypeError, match="holds a secret"):
            pickle.dumps(ALICE, protocol)

    def test_identity_is_not_copied(self) -> None:
        with pytest.raises(TypeError, match="holds a secret"):
            copy.deepcopy(ALICE)

    def test_public_half_is_no_keyfile_of_ours(self, tmp_path: Path) -> None:
        (tmp_path / "pub").write_text(
            json.dumps({"ss58Address": ALICE.ss58, "publicKey": "0x" + ALICE.public_key.hex()})
        )
        with pytest.raises(ConfigError, match="not a keyfile with a secret key"):
            load_keyfile(tmp_path / "pub")


class TestKeyfiles:
    def test_keyfile_is_read_back(self, tmp_path: Path) -> None:
        save_keyfile(ALICE, tmp_path / "wallets" / "alice")
        loaded = load_keyfile(tmp_path / "wallets" / "alice")
        assert loaded.public_key == ALICE.public_key
        assert verify(ALICE.public_key, b"m", loaded.sign(b"m"))

    def test_only_the_owner_may_read_it(self, tmp_path: Path) -> None:
        save_keyfile(ALICE, tmp_path / "wallets" / "alice")
        assert stat.S_IMODE((tmp_path / "wallets" / "alice").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "wallets").stat().st_mode) == 0o700
        assert [path.name for path in (tmp_path / "wallets").iterdir()] == ["alice"]

    def test_keyfile_is_never_overwritten(self, tmp_path: Path) -> None:
        save_keyfile(ALICE, tmp_path / "alice")
        with pytest.raises(ConfigError, match="exists and is not overwritten"):
            save_keyfile(Identity.generate(), tmp_path / "alice")
        assert load_keyfile(tmp_path / "alice").public_key == ALICE.public_key
        assert [path.name for path in tmp_path.iterdir()] == ["alice"]

    def test_dangling_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "alice").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigError, match="exists and is not overwritten"):
            save_keyfile(ALICE, tmp_path / "alice")
        assert not (tmp_path / "elsewhere").exists()

    def test_draft_of_a_crashed_process_is_no_obstacle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.getpid", lambda: 77)
        (tmp_path / ".secret.77").write_bytes(b"half")
        (tmp_path / ".secret.77").chmod(0o644)
        write_secret(tmp_path / "secret", b"whole")
        assert (tmp_path / "secret").read_bytes() == b"whole"
        assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600

    def test_write_that_fails_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_secret(tmp_path / "secret", b"data")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{}",
            b"null",
            b"[]",
            b"\xff" * 50,
            b"words that are no phrase",
            b'{"secretSeed":"0x00"}',
            b'{"secretSeed":5}',
            b"[" * KEYFILE_BYTES_MAX,
            b" " * (KEYFILE_BYTES_MAX + 100),
        ],
    )
    def test_what_is_no_keyfile_is_a_config_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ConfigError, match="not a keyfile"):
            load_keyfile(tmp_path / "x")

    def test_key_of_another_curve_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text(json.dumps({"cryptoType": 0, "secretSeed": "0x" + SEED.hex()}))
        with pytest.raises(ConfigError, match="not an sr25519 key"):
            load_keyfile(tmp_path / "x")

    def test_missing_keyfile_and_directory_are_config_errors(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(ConfigError, match=f"cannot read the keyfile {path}"):
                load_keyfile(path)

    def test_error_about_a_keyfile_does_not_quote_it(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text(f"{PHRASE} walk")
        with pytest.raises(ConfigError) as caught:
            load_keyfile(tmp_path / "x")
        assert "lonely" not in "".join(traceback.format_exception(caught.value))


class TestEncryptedKeyfiles:
    def test_password_opens_it(self, tmp_path: Path) -> None:
        (tmp_path / "cold").write_bytes(locked_keyfile(ALICE))
        assert is_encrypted(tmp_path / "cold")
        loaded = load_encrypted_keyfile(tmp_path / "cold", PASSWORD)
        assert verify(ALICE.public_key, b"m", loaded.sign(b"m"))

    @pytest.mark.parametrize("password", ["", "hunter2", PASSWORD + " "])
    def test_other_password_does_not_and_is_not_repeated(self, tmp_path: Path, password: str) -> None:
        (tmp_path / "cold").write_bytes(locked_keyfile(ALICE))
        with pytest.raises(AuthError, match="the password does not open") as caught:
            load_encrypted_keyfile(tmp_path / "cold", password)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_damaged_one_is_a_config_error(self, tmp_path: Path) -> None:
        (tmp_path / "cold").write_bytes(b"$NACLshort")
        with pytest.raises(ConfigError, match="is damaged"):
            load_encrypted_keyfile(tmp_path / "cold", PASSWORD)

    def test_password_around_what_is_no_key_is_a_config_error(self, tmp_path: Path) -> None:
        (tmp_path / "cold").write_bytes(vault(json.dumps({"ss58Address": ALICE.ss58}).encode()))
        with pytest.raises(ConfigError, match="not a keyfile with a secret key"):
            load_encrypted_keyfile(tmp_path / "cold", PASSWORD)

    def test_unencrypted_one_is_told_apart(self, tmp_path: Path) -> None:
        save_keyfile(ALICE, tmp_path / "hot")
        assert not is_encrypted(tmp_path / "hot")
        with pytest.raises(ConfigError, match="is not encrypted"):
            load_encrypted_keyfile(tmp_path / "hot", PASSWORD)

    def test_missing_one_is_a_config_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read the keyfile"):
            is_encrypted(tmp_path / "none")
        with pytest.raises(ConfigError, match="cannot read the keyfile"):
            load_encrypted_keyfile(tmp_path / "none", PASSWORD)


class TestWallets:
    """The chain SDK reads our files and we read its own."""

    def test_chain_sdk_reads_our_keyfile(self, sdk: Any, tmp_path: Path) -> None:
        save_keyfile(ALICE, tmp_path / "alice" / "hotkeys" / "default")
        wallet = sdk.Wallet(name="alice", hotkey="default", path=str(tmp_path))
        assert wallet.hotkey.ss58_address == ALICE.ss58
        assert verify(ALICE.public_key, b"m", bytes(wallet.hotkey.sign(b"m")))

    def test_we_read_the_hotkey_of_the_chain_sdk(self, sdk: Any, tmp_path: Path) -> None:
        wallet = sdk.Wallet(name="bob", hotkey="default", path=str(tmp_path))
        wallet.create_new_hotkey(use_password=False, overwrite=False, suppress=True)
        ours = load_keyfile(tmp_path / "bob" / "hotkeys" / "default")
        assert ours.ss58 == wallet.hotkey.ss58_address

    def test_public_hotkey_file_of_the_chain_sdk_is_refused(self, sdk: Any, tmp_path: Path) -> None:
        wallet = sdk.Wallet(name="bob", hotkey="default", path=str(tmp_path))
        wallet.create_new_hotkey(use_password=False, overwrite=False, suppress=True)
        with pytest.raises(ConfigError, match="not a keyfile with a secret key"):
            load_keyfile(Path(wallet.hotkeypub_file.path))

    def test_encrypted_keyfile_is_recognised(self, sdk: Any, tmp_path: Path) -> None:
        keyfile = sdk.keyfiles.Keyfile(str(tmp_path / "cold"), name="cold")
        keyfile.set_keypair(sdk.sp_core.Keypair.create_from_seed(SEED), encrypt=True, password="correct horse 1!")
        with pytest.raises(ConfigError, match="is encrypted") as caught:
            load_keyfile(tmp_path / "cold")
        assert caught.value.hint

    def test_we_read_the_encrypted_coldkey_of_the_chain_sdk(self, sdk: Any, tmp_path: Path) -> None:
        keyfile = sdk.keyfiles.Keyfile(str(tmp_path / "cold"), name="cold")
        keyfile.set_keypair(sdk.sp_core.Keypair.create_from_seed(SEED), encrypt=True, password=PASSWORD)
        assert load_encrypted_keyfile(tmp_path / "cold", PASSWORD).public_key == ALICE.public_key

    def test_chain_sdk_makes_the_same_key_of_a_phrase(self, sdk: Any) -> None:
        phrase = new_phrase()
        assert (
            sdk.sp_core.Keypair.create_from_mnemonic(phrase).ss58_address
            == Identity.from_seed(seed_of_phrase(phrase)).ss58
        )
