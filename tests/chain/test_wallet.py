"""A wallet's files are where the chain's tools keep them, and a node's wallet has no coldkey to take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hippy.chain.wallet import Wallet, check_coldkey_away, hotkey_address, wallets_around
from hippy.errors import ConfigError
from hippy.identity import Identity, save_keyfile
from tests.chain.vault import locked_keyfile

HOTKEY, COLDKEY = Identity.from_seed(b"h" * 32), Identity.from_seed(b"c" * 32)


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    """A wallet with its hotkey, as a server has it."""
    wallet = Wallet("hippy", "miner1", tmp_path)
    save_keyfile(HOTKEY, wallet.hotkey_file)
    return wallet


def public_half(identity: Identity) -> str:
    return json.dumps({"ss58Address": identity.ss58, "publicKey": "0x" + identity.public_key.hex()})


class TestPlaces:
    def test_the_chain_sdk_keeps_the_files_in_the_same_places(self, tmp_path: Path) -> None:
        sdk: Any = pytest.importorskip("bittensor", reason="the chain SDK is not installed (extra: miner or validator)")
        theirs = sdk.Wallet(name="hippy", hotkey="miner1", path=str(tmp_path))
        ours = Wallet("hippy", "miner1", tmp_path)
        assert str(ours.hotkey_file) == theirs.hotkey_file.path
        assert str(ours.hotkey_public_file) == theirs.hotkeypub_file.path
        assert str(ours.coldkey_file) == theirs.coldkey_file.path

    def test_what_is_not_named_is_where_the_chains_tools_put_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        wallet = Wallet.named("hippy", None, None)
        assert wallet.hotkey_file == tmp_path / ".bittensor" / "wallets" / "hippy" / "hotkeys" / "default"

    def test_tilde_of_nobody_is_a_mistake(self) -> None:
        with pytest.raises(ConfigError, match="nobody knows"):
            _ = Wallet("hippy", path=Path("~no-such-user-at-all/wallets")).coldkey_file

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "a\0b", "/"])
    def test_name_that_leads_elsewhere_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="not the name of a wallet"):
            Wallet(name)
        with pytest.raises(ConfigError, match="not the name of a hotkey"):
            Wallet("hippy", name)

    @pytest.mark.parametrize("name", ["a", "a b", "..a", "miner-1.new", "é"])
    def test_any_other_name_is_taken(self, name: str) -> None:
        assert Wallet(name, name).hotkey_file.name == name


class TestWalletsAround:
    def test_hotkey_of_a_wallet_is_in_that_wallet(self, wallet: Wallet) -> None:
        assert wallets_around(wallet.hotkey_file) == {wallet}

    def test_path_that_goes_back_and_forth_is_understood(self, wallet: Wallet) -> None:
        assert wallets_around(wallet.directory / "hotkeys" / ".." / "hotkeys" / "miner1") == {wallet}

    def test_relative_path_is_understood(self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(wallet.directory / "hotkeys")
        assert wallets_around(Path("miner1")) == {wallet}

    def test_link_is_in_the_wallet_that_it_leads_to(self, wallet: Wallet, tmp_path: Path) -> None:
        (tmp_path / "hotkey").symlink_to(wallet.hotkey_file)
        assert wallets_around(tmp_path / "hotkey") == {wallet}

    @pytest.mark.parametrize("place", ["/etc/hippy/hotkey", "/hotkeys/hotkey", "hotkey"])
    def test_other_places_are_in_none(self, place: str) -> None:
        assert wallets_around(Path(place)) == frozenset()


class TestColdkey:
    def test_wallet_without_a_coldkey_is_fine(self, wallet: Wallet) -> None:
        (wallet.directory / "coldkeypub.txt").write_text(public_half(COLDKEY))
        check_coldkey_away(wallet)

    def test_unencrypted_coldkey_is_refused_and_the_hint_says_what_to_do(self, wallet: Wallet) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        with pytest.raises(ConfigError, match="unencrypted coldkey") as caught:
            check_coldkey_away(wallet)
        assert caught.value.hint is not None
        assert "another machine" in caught.value.hint

    @pytest.mark.parametrize("kind", [b"$NACL", b"vault"])
    def test_encrypted_coldkey_is_let_be(self, wallet: Wallet, kind: bytes) -> None:
        wallet.coldkey_file.write_bytes(kind if kind == b"$NACL" else locked_keyfile(COLDKEY))
        check_coldkey_away(wallet)

    def test_coldkey_that_this_process_cannot_read_is_let_be(
        self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        monkeypatch.setattr("os.access", lambda path, mode: False)  # root reads any file, whatever its mode
        check_coldkey_away(wallet)


class TestHotkeyAddress:
    def test_is_that_of_the_hotkey(self, wallet: Wallet) -> None:
        wallet.hotkey_public_file.write_text(public_half(COLDKEY))
        assert hotkey_address(wallet) == HOTKEY.public_key

    def test_public_half_is_enough(self, wallet: Wallet) -> None:
        wallet.hotkey_file.unlink()
        wallet.hotkey_public_file.write_text(public_half(HOTKEY))
        assert hotkey_address(wallet) == HOTKEY.public_key

    def test_neither_half_is_a_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read the keyfile"):
            hotkey_address(Wallet("hippy", "miner1", tmp_path))

    @pytest.mark.parametrize(
        "text", ["", "{}", "[]", "null", '{"ss58Address": 5}', '{"ss58Address": "5F"}', "[" * 60_000, "\xff"]
    )
    def test_damaged_public_half_is_a_mistake(self, wallet: Wallet, text: str) -> None:
        wallet.hotkey_file.unlink()
        wallet.hotkey_public_file.write_text(text, encoding="latin-1")
        with pytest.raises(ConfigError, match="does not hold the public half"):
            hotkey_address(wallet)
