"""``hippy chain``: registering costs money and is asked for, and a subnet is shown as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("bittensor")

from click.testing import CliRunner, Result

from hippy.chain.local import LocalChain
from hippy.chain.open import CHAIN_FILE, SUBSTRATE_VARIABLE
from hippy.chain.wallet import Wallet
from hippy.cli.chain import tao
from hippy.cli.commands import hippy
from hippy.clock import SystemClock
from hippy.errors import AuthError, ConfigError, ConflictError, UsageError
from hippy.identity import Identity, save_keyfile
from hippy.ids import NetworkId
from hippy.testing.substrate import BURN_RAO, MemoryChain, MemorySubstrate
from tests.chain.vault import PASSWORD, locked_keyfile

HOTKEY, COLDKEY, OTHER = (Identity.from_seed(letter * 32) for letter in (b"h", b"c", b"o"))
LOOPBACK = "ws://127.0.0.1:1"
CHAINS: list[MemoryChain] = []


def substrate(endpoint: str) -> MemorySubstrate:
    """What HIPPY_CHAIN_SUBSTRATE names in these tests."""
    assert endpoint == LOOPBACK
    return CHAINS[0].substrate()


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryChain]:
    """The chain that the commands reach."""
    monkeypatch.delenv("BT_WALLET_PASSWORD", raising=False)
    monkeypatch.setenv(SUBSTRATE_VARIABLE, f"{__name__}:substrate")
    CHAINS[:] = [MemoryChain()]
    yield CHAINS[0]
    CHAINS.clear()


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    """A wallet as it is where the coldkey is."""
    wallet = Wallet("hippy", path=tmp_path)
    save_keyfile(HOTKEY, wallet.hotkey_file)
    save_keyfile(COLDKEY, wallet.coldkey_file)
    return wallet


def register(wallet: Wallet, *options: str, network: str = LOOPBACK, typed: str | None = None) -> Result:
    named = ["--wallet.name", wallet.name, "--wallet.path", str(wallet.path)]
    command = ["chain", "register", "--network", network, "--netuid", "7", *named, *options]
    return CliRunner().invoke(hippy, command, input=typed)


def lock(wallet: Wallet) -> None:
    wallet.coldkey_file.unlink()
    wallet.coldkey_file.write_bytes(locked_keyfile(COLDKEY))


class TestRegister:
    def test_cost_is_shown_before_it_is_paid(self, memory: MemoryChain, wallet: Wallet) -> None:
        result = register(wallet, typed="y\n")
        assert result.exit_code == 0, result.output
        cost, asked = result.stderr.splitlines()[:2]
        assert cost.startswith(f"registering {HOTKEY.ss58} on subnet 7 of {LOOPBACK} costs {tao(BURN_RAO)} TAO")
        assert asked.startswith("Register it? [y/N]")
        assert result.stdout == f"{HOTKEY.ss58} is uid 0 on subnet 7\n"
        assert (memory.neuron(0).hotkey, memory.neuron(0).coldkey) == (HOTKEY.public_key, COLDKEY.public_key)

    @pytest.mark.parametrize("typed", ["n\n", "\n", ""])
    def test_without_a_yes_nothing_is_paid(self, memory: MemoryChain, wallet: Wallet, typed: str) -> None:
        assert register(wallet, typed=typed).exit_code == 1
        assert memory.submitted == []

    def test_yes_and_json_need_nobody(self, memory: MemoryChain, wallet: Wallet) -> None:
        memory.register(OTHER.public_key, COLDKEY.public_key, permit=False, stake_rao=0)
        result = register(wallet, "--yes", "--json")
        assert json.loads(result.stdout) == {
            "network": LOOPBACK,
            "netuid": 7,
            "uid": 1,
            "hotkey": HOTKEY.ss58,
            "coldkey": COLDKEY.ss58,
            "cost_rao": BURN_RAO,
        }

    def test_password_is_asked_for_and_not_shown(self, memory: MemoryChain, wallet: Wallet) -> None:
        lock(wallet)
        result = register(wallet, "--yes", typed=f"{PASSWORD}\n")
        assert result.exit_code == 0, result.output
        assert "Password of the coldkey of wallet hippy" in result.stderr
        assert PASSWORD not in result.output
        assert memory.neuron(0).coldkey == COLDKEY.public_key

    def test_password_may_be_in_the_environment(
        self, memory: MemoryChain, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock(wallet)
        monkeypatch.setenv("BT_WALLET_PASSWORD", PASSWORD)
        assert register(wallet, "--yes").exit_code == 0
        assert memory.neuron(0).coldkey == COLDKEY.public_key

    def test_wrong_password_pays_nothing_and_is_not_repeated(self, memory: MemoryChain, wallet: Wallet) -> None:
        lock(wallet)
        result = register(wallet, "--yes", typed="hunter2\n")
        assert isinstance(result.exception, AuthError)
        assert "hunter2" not in str(result.exception) + result.output
        assert memory.submitted == []

    def test_registered_hotkey_is_told_before_anything_is_asked(self, memory: MemoryChain, wallet: Wallet) -> None:
        memory.register(HOTKEY.public_key, COLDKEY.public_key, permit=False, stake_rao=0)
        result = register(wallet)
        assert isinstance(result.exception, ConflictError)
        assert "uid 0" in str(result.exception)
        assert result.output == ""

    def test_public_half_of_the_hotkey_is_enough(self, memory: MemoryChain, wallet: Wallet) -> None:
        wallet.hotkey_file.unlink()
        wallet.hotkey_public_file.write_text(json.dumps({"ss58Address": HOTKEY.ss58}))
        assert register(wallet, "--yes").exit_code == 0
        assert memory.neuron(0).hotkey == HOTKEY.public_key

    def test_wallet_without_a_coldkey_cannot_pay(self, memory: MemoryChain, wallet: Wallet) -> None:
        wallet.coldkey_file.unlink()
        result = register(wallet, "--yes")
        assert isinstance(result.exception, ConfigError)
        assert "no coldkey" in str(result.exception)
        assert result.exception.hint
        assert memory.connections == 0

    def test_local_networks_register_their_own(self, wallet: Wallet) -> None:
        result = register(wallet, "--yes", network="local:net")
        assert isinstance(result.exception, UsageError)
        assert result.exception.hint is not None
        assert "hippy net up" in result.exception.hint

    def test_absent_subnet_has_no_price(self, memory: MemoryChain, wallet: Wallet) -> None:
        memory.netuid = 8
        assert isinstance(register(wallet, "--yes").exception, ConfigError)

    def test_there_is_no_option_for_a_password(self) -> None:
        told = CliRunner().invoke(hippy, ["chain", "register", "--help"]).output
        assert "--password" not in told
        assert "BT_WALLET_PASSWORD" in told


class TestShow:
    def show(self, network: str, netuid: int, *options: str) -> Result:
        return CliRunner().invoke(hippy, ["chain", "show", "--network", network, "--netuid", str(netuid), *options])

    def test_neurons_are_told_with_all_that_the_chain_says(self, memory: MemoryChain) -> None:
        memory.register(HOTKEY.public_key, COLDKEY.public_key, permit=True, stake_rao=1_500_000_001)
        memory.register(OTHER.public_key, COLDKEY.public_key, permit=False, stake_rao=0)
        memory.neuron(1).axon = {"ip": int.from_bytes([127, 0, 1, 1], "big"), "port": 4000, "ip_type": 4}
        memory.neuron(1).incentive = 1.0
        told = json.loads(self.show(LOOPBACK, 7, "--json").stdout)
        assert (told["netuid"], told["block"], told["epoch"], told["tempo_blocks"]) == (7, 1000, 200, 5)
        assert len(bytes.fromhex(told["genesis"])) == 32
        assert told["neurons"][0] == {
            "uid": 0,
            "hotkey": HOTKEY.ss58,
            "coldkey": COLDKEY.ss58,
            "endpoint": None,
            "validator_permit": True,
            "stake_rao": 1_500_000_001,
            "incentive": 0.0,
        }
        assert (told["neurons"][1]["endpoint"], told["neurons"][1]["incentive"]) == ("127.0.1.1:4000", 1.0)

    def test_table_has_a_line_for_each(self, memory: MemoryChain) -> None:
        memory.register(HOTKEY.public_key, COLDKEY.public_key, permit=True, stake_rao=1_500_000_001)
        block, epoch, neurons, head, line = self.show(LOOPBACK, 7).stdout.splitlines()
        assert [block.split()[-1], epoch.split()[1], neurons.split()[-1]] == ["1000", "200,", "1"]
        assert head.split() == ["uid", "hotkey", "coldkey", "endpoint", "permit", "stake", "incentive"]
        assert line.split() == ["0", HOTKEY.ss58, COLDKEY.ss58, "-", "yes", "1.500000001", "0.00000"]

    def test_local_network_is_shown_too(self, tmp_path: Path) -> None:
        path = tmp_path / CHAIN_FILE
        LocalChain.create(path, clock=SystemClock(), network=NetworkId(b"n" * 32), genesis_secret=b"s" * 32, netuid=3)
        told = json.loads(self.show(f"local:{tmp_path}", 3, "--json").stdout)
        assert (told["genesis"], told["neurons"]) == ((b"n" * 32).hex(), [])
        assert isinstance(self.show(f"local:{tmp_path}", 4).exception, ConfigError)


@pytest.mark.parametrize(
    ("rao", "text"), [(0, "0.000000000"), (1, "0.000000001"), (10**9, "1.000000000"), (2**63, "9223372036.854775808")]
)
def test_amounts_are_exact(rao: int, text: str) -> None:
    assert tao(rao) == text
