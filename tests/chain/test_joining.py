"""A node joins as the hotkey that its settings name, once nothing speaks against starting."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hippy.chain.joining import joined_chain
from hippy.chain.local import LocalChain
from hippy.chain.open import CHAIN_FILE
from hippy.chain.wallet import Wallet
from hippy.errors import ConfigError
from hippy.identity import Identity, save_keyfile
from hippy.ids import NetworkId
from hippy.testing.clock import VirtualClock
from tests.chain.vault import locked_keyfile

HOTKEY, COLDKEY = Identity.from_seed(b"h" * 32), Identity.from_seed(b"c" * 32)
NETUID = 3
PUBLIC_HOST = "8.8.8.8"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node's settings say."""

    network: str
    hotkey_file: Path | None = None
    netuid: int = NETUID
    published_host: str = "127.0.0.1"
    fallback_endpoints: tuple[str, ...] | None = None
    wallet_name: str | None = None
    wallet_hotkey: str | None = None
    wallet_path: Path | None = None


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    """A wallet with a hotkey and an unencrypted coldkey."""
    wallet = Wallet("hippy", path=tmp_path / "wallets")
    save_keyfile(HOTKEY, wallet.hotkey_file)
    save_keyfile(COLDKEY, wallet.coldkey_file)
    return wallet


@pytest.fixture
def local(tmp_path: Path, wallet: Wallet) -> Settings:
    """Settings of a node on a local network."""
    path = tmp_path / CHAIN_FILE
    LocalChain.create(path, clock=VirtualClock(), network=NetworkId(b"n" * 32), genesis_secret=b"s" * 32, netuid=NETUID)
    return Settings(f"local:{tmp_path}", wallet.hotkey_file)


async def join(settings: Settings) -> Identity:
    async with joined_chain(settings, VirtualClock()) as joined:
        assert joined.chain.netuid == NETUID
        return joined.identity


async def test_file_or_wallet_names_the_hotkey(local: Settings, wallet: Wallet) -> None:
    by_wallet = replace(local, hotkey_file=None, wallet_name=wallet.name, wallet_path=wallet.path)
    for settings in (local, by_wallet, replace(by_wallet, wallet_hotkey="default")):
        assert (await join(settings)).public_key == HOTKEY.public_key
    with pytest.raises(ConfigError, match="cannot read the keyfile"):
        await join(replace(by_wallet, wallet_hotkey="other"))


async def test_no_hotkey_is_a_mistake(local: Settings) -> None:
    with pytest.raises(ConfigError, match="no hotkey"):
        await join(replace(local, hotkey_file=None))


async def test_another_subnet_is_a_mistake(local: Settings) -> None:
    with pytest.raises(ConfigError, match="has subnet 3, the settings say subnet 4"):
        await join(replace(local, netuid=4))


async def test_address_of_no_machine_is_refused_even_on_a_local_network(local: Settings) -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        await join(replace(local, published_host="0.0.0.0"))


@pytest.mark.parametrize("network", ["finney", "test"])
async def test_private_address_is_refused_before_anything_connects(network: str, wallet: Wallet) -> None:
    wallet.coldkey_file.unlink()
    with pytest.raises(ConfigError, match="not a public address"):
        await join(Settings(network, wallet.hotkey_file))


async def test_coldkey_is_refused_before_anything_connects(wallet: Wallet, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(wallet.hotkey_file)
    by_wallet = Settings("finney", published_host=PUBLIC_HOST, wallet_name=wallet.name, wallet_path=wallet.path)
    for settings in (
        by_wallet,
        replace(by_wallet, hotkey_file=wallet.hotkey_file, wallet_name=None),
        replace(by_wallet, hotkey_file=tmp_path / "link", wallet_name=None),
    ):
        with pytest.raises(ConfigError, match="unencrypted coldkey"):
            await join(settings)


async def test_encrypted_coldkey_does_not_keep_a_node_from_starting(wallet: Wallet) -> None:
    wallet.coldkey_file.unlink()
    wallet.coldkey_file.write_bytes(locked_keyfile(COLDKEY))
    wallet.hotkey_file.unlink()
    with pytest.raises(ConfigError, match="cannot read the keyfile"):  # the next thing to be looked at
        await join(Settings("finney", wallet.hotkey_file, published_host=PUBLIC_HOST))


async def test_coldkey_is_no_hotkey(wallet: Wallet) -> None:
    settings = Settings("finney", wallet.coldkey_file, published_host=PUBLIC_HOST)
    with pytest.raises(ConfigError, match="is a coldkey, which holds money"):
        await join(settings)
    wallet.coldkey_file.rename(wallet.hotkey_file)
    (wallet.directory / "coldkeypub.txt").write_text(json.dumps({"ss58Address": COLDKEY.ss58}))
    with pytest.raises(ConfigError, match="is a coldkey, which holds money"):
        await join(replace(settings, hotkey_file=wallet.hotkey_file))


async def test_coldkey_beside_a_hotkey_that_is_in_no_wallet_is_refused(tmp_path: Path) -> None:
    save_keyfile(HOTKEY, tmp_path / "flat" / "hotkey")
    save_keyfile(COLDKEY, tmp_path / "flat" / "coldkey")
    with pytest.raises(ConfigError, match="unencrypted coldkey"):
        await join(Settings("finney", tmp_path / "flat" / "hotkey", published_host=PUBLIC_HOST))


async def test_any_key_will_do_on_a_local_network(local: Settings, wallet: Wallet) -> None:
    assert (await join(replace(local, hotkey_file=wallet.coldkey_file))).public_key == COLDKEY.public_key
