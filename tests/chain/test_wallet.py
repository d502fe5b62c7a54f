"""A wallet's files are where the chain's tools keep them, and a node's wallet has no coldkey to take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hippy.chain.wallet import Wallet, check_coldkey_away, check_not_coldkey, hotkey_address
from hippy.errors import ConfigError
from hippy.identity import Identity, load_keyfile, save_keyfile
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


def hotkey_in(directory: Path) -> Path:
    """A hotkey's file in a directory that is no wallet."""
    path = directory / "hotkey"
    save_keyfile(HOTKEY, path)
    return path


class TestColdkeyAway:
    def test_wallet_without_a_coldkey_is_fine(self, wallet: Wallet) -> None:
        (wallet.directory / "coldkeypub.txt").write_text(public_half(COLDKEY))
        check_coldkey_away(wallet.hotkey_file)

    def test_unencrypted_coldkey_is_refused_and_the_hint_says_what_to_do(self, wallet: Wallet) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        with pytest.raises(ConfigError, match="unencrypted coldkey") as caught:
            check_coldkey_away(wallet.hotkey_file)
        assert caught.value.hint is not None
        assert "another machine" in caught.value.hint

    @pytest.mark.parametrize("place", ["flat", "."])
    def test_coldkey_beside_any_hotkey_or_further_up_is_refused(self, tmp_path: Path, place: str) -> None:
        hotkey_file = hotkey_in(tmp_path / "flat")
        save_keyfile(COLDKEY, tmp_path / place / "coldkey")
        with pytest.raises(ConfigError, match="unencrypted coldkey"):
            check_coldkey_away(hotkey_file)

    def test_coldkey_of_the_wallet_that_a_link_leads_to_is_refused(self, wallet: Wallet, tmp_path: Path) -> None:
        (tmp_path / "elsewhere" / "keys").mkdir(parents=True)
        link = tmp_path / "elsewhere" / "keys" / "hotkey"
        link.symlink_to(wallet.hotkey_file)
        check_coldkey_away(link)
        save_keyfile(COLDKEY, wallet.coldkey_file)
        with pytest.raises(ConfigError, match="unencrypted coldkey"):
            check_coldkey_away(link)

    def test_coldkey_beside_a_link_is_refused(self, wallet: Wallet, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "hotkey").symlink_to(wallet.hotkey_file)
        save_keyfile(COLDKEY, tmp_path / "elsewhere" / "coldkey")
        with pytest.raises(ConfigError, match="unencrypted coldkey"):
            check_coldkey_away(tmp_path / "elsewhere" / "hotkey")

    @pytest.mark.parametrize("path", ["miner1", "../hotkeys/miner1"])
    def test_relative_path_is_understood(self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        monkeypatch.chdir(wallet.hotkey_file.parent)
        with pytest.raises(ConfigError, match="unencrypted coldkey"):
            check_coldkey_away(Path(path))

    @pytest.mark.parametrize("kind", [b"$NACL", b"vault"])
    def test_encrypted_coldkey_is_let_be(self, wallet: Wallet, kind: bytes) -> None:
        wallet.coldkey_file.write_bytes(kind if kind == b"$NACL" else locked_keyfile(COLDKEY))
        check_coldkey_away(wallet.hotkey_file)

    def test_directory_of_that_name_is_let_be(self, tmp_path: Path) -> None:
        (tmp_path / "coldkey").mkdir()
        check_coldkey_away(hotkey_in(tmp_path / "flat"))

    def test_coldkey_that_this_process_cannot_read_is_let_be(
        self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        monkeypatch.setattr("os.access", lambda path, mode: False)  # root reads any file, whatever its mode
        check_coldkey_away(wallet.hotkey_file)


class TestNotColdkey:
    def test_file_named_coldkey_is_no_hotkey(self, wallet: Wallet, tmp_path: Path) -> None:
        save_keyfile(COLDKEY, wallet.coldkey_file)
        (tmp_path / "hotkey").symlink_to(wallet.coldkey_file)
        for path in (wallet.coldkey_file, tmp_path / "hotkey", tmp_path / "nowhere" / "coldkey"):
            with pytest.raises(ConfigError, match="is a coldkey, which holds money"):
                check_coldkey_away(path)

    @pytest.mark.parametrize("place", ["hotkeys", "."])
    def test_key_that_is_the_coldkey_by_its_public_half_is_refused(self, wallet: Wallet, place: str) -> None:
        public_file = wallet.directory / place / "coldkeypub.txt"
        public_file.write_text(public_half(COLDKEY))
        check_not_coldkey(wallet.hotkey_file, HOTKEY.public_key)
        with pytest.raises(ConfigError, match="is a coldkey, which holds money"):
            check_not_coldkey(wallet.hotkey_file, COLDKEY.public_key)

    def test_public_half_that_the_chain_sdk_writes_is_understood(self, wallet: Wallet) -> None:
        sdk: Any = pytest.importorskip("bittensor", reason="the chain SDK is not installed (extra: miner or validator)")
        theirs = sdk.Wallet(name=wallet.name, hotkey=wallet.hotkey, path=str(wallet.path))
        theirs.create_new_coldkey(use_password=False, suppress=True)
        coldkey = load_keyfile(wallet.coldkey_file)
        with pytest.raises(ConfigError, match="is a coldkey, which holds money"):
            check_not_coldkey(wallet.hotkey_file, coldkey.public_key)

    def test_without_a_public_half_nothing_speaks_against_a_key(self, wallet: Wallet) -> None:
        check_not_coldkey(wallet.hotkey_file, COLDKEY.public_key)

    def test_damaged_public_half_is_a_mistake(self, wallet: Wallet) -> None:
        (wallet.directory / "coldkeypub.txt").write_text("{}")
        with pytest.raises(ConfigError, match="does not hold the public half"):
            check_not_coldkey(wallet.hotkey_file, HOTKEY.public_key)


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
