"""Settings: options win over the environment, that wins over the file, and every fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from hippy.endpoint import Endpoint
from hippy.errors import ConfigError
from hippy.settings import (
    FALLBACK_ENDPOINTS_MAX,
    SETTINGS_BYTES_MAX,
    NodeSettings,
    check_secret_file,
    load_settings,
    load_with_sources,
    masked,
)


class DemoSettings(NodeSettings):
    """A role's settings."""

    capacity_bytes: Annotated[int, Field(ge=0)] = 0
    peers: tuple[str, ...] = ()


GOOD = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\nport = 4000\n'


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DemoSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


def load(tmp_path: Path, text: str, **options: object) -> DemoSettings:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return load_settings(DemoSettings, path, options)


def test_file_is_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + 'peers = ["a", "b"]\n')
    assert (settings.network, settings.port, settings.hotkey_file) == ("local:net", 4000, Path("hotkey"))
    assert (settings.netuid, settings.host, settings.log_level) == (1, "127.0.0.1", "info")
    assert settings.peers == ("a", "b")


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_PORT", "5000")
    monkeypatch.setenv("HIPPY_CAPACITY_BYTES", "7")
    settings = load(tmp_path, GOOD)
    assert (settings.port, settings.capacity_bytes) == (5000, 7)


def test_environment_supplies_what_the_file_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_NETWORK", "local:other")
    assert load(tmp_path, GOOD.split("\n", 1)[1]).network == "local:other"


def test_options_win_over_the_environment_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_NETWORK", "finney")
    monkeypatch.setenv("HIPPY_PORT", "5000")
    settings = load(tmp_path, GOOD, network="test", netuid=9)
    assert (settings.network, settings.netuid, settings.port) == ("test", 9, 5000)


def test_settings_made_directly_are_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_PORT", "5000")
    settings = DemoSettings(network="finney", hotkey_file=Path("hotkey"), data_dir=Path("data"))
    assert settings.port == 0


class TestHotkey:
    """A hotkey is named by a file or by a wallet, and the source that wins chooses how."""

    BASE = 'network = "finney"\ndata_dir = "data"\n'
    WALLET = BASE + 'wallet_name = "hippy"\nwallet_hotkey = "m1"\nwallet_path = "wallets"\n'

    @staticmethod
    def named(settings: NodeSettings) -> tuple[Path | None, str | None, str | None, Path | None]:
        return settings.hotkey_file, settings.wallet_name, settings.wallet_hotkey, settings.wallet_path

    def test_wallet_names_it_as_well_as_a_file(self, tmp_path: Path) -> None:
        assert self.named(load(tmp_path, self.WALLET)) == (None, "hippy", "m1", Path("wallets"))
        assert self.named(load(tmp_path, GOOD)) == (Path("hotkey"), None, None, None)

    @pytest.mark.parametrize("field", ["wallet_name", "wallet_hotkey", "wallet_path"])
    def test_both_are_a_fault(self, tmp_path: Path, field: str) -> None:
        with pytest.raises(ConfigError, match=f"hotkey_file: .*{field} names the hotkey too"):
            load(tmp_path, GOOD + f'{field} = "x"\n')

    @pytest.mark.parametrize("text", ["", 'wallet_hotkey = "m1"\n', 'wallet_path = "wallets"\n'])
    def test_neither_is_a_fault(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError, match=r"hotkey_file: .*nothing names the hotkey"):
            load(tmp_path, self.BASE + text)

    def test_option_that_names_a_wallet_takes_the_place_of_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIPPY_HOTKEY_FILE", "other")
        assert self.named(load(tmp_path, GOOD, wallet_name="hippy")) == (None, "hippy", None, None)

    def test_environment_that_names_a_file_takes_the_place_of_a_wallet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIPPY_HOTKEY_FILE", "other")
        assert self.named(load(tmp_path, self.WALLET)) == (Path("other"), None, None, None)

    def test_option_chooses_another_hotkey_of_the_wallet(self, tmp_path: Path) -> None:
        assert self.named(load(tmp_path, self.WALLET, wallet_hotkey="m2"))[1:3] == ("hippy", "m2")


class TestFallbackEndpoints:
    def test_unless_set_they_are_the_sdks(self, tmp_path: Path) -> None:
        assert load(tmp_path, GOOD).fallback_endpoints is None

    def test_some_and_none_may_be_set(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        urls = ("wss://one.example:443", "ws://127.0.0.1:9944")
        assert load(tmp_path, GOOD + f"fallback_endpoints = {list(urls)}\n").fallback_endpoints == urls
        assert load(tmp_path, GOOD + "fallback_endpoints = []\n").fallback_endpoints == ()
        monkeypatch.setenv("HIPPY_FALLBACK_ENDPOINTS", '["wss://two.example"]')
        assert load(tmp_path, GOOD).fallback_endpoints == ("wss://two.example",)

    @pytest.mark.parametrize(
        "url", ["finney", "https://hunter2.example", "wss://", "wss://[hunter2", "ws://a:99999", "wss://u:hunter2@a"]
    )
    def test_what_is_no_endpoint_is_named_but_not_repeated(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(ConfigError, match=r"fallback_endpoints\.1: .*wss://HOST:PORT") as caught:
            load(tmp_path, GOOD + f'fallback_endpoints = ["wss://one.example", "{url}"]\n')
        assert "hunter2" not in caught.value.message

    def test_too_many_are_a_fault(self, tmp_path: Path) -> None:
        urls = ["wss://one.example"] * (FALLBACK_ENDPOINTS_MAX + 1)
        with pytest.raises(ConfigError, match="fallback_endpoints"):
            load(tmp_path, GOOD + f"fallback_endpoints = {urls}\n")


def test_dotenv_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("HIPPY_PORT=5000\n")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, GOOD).port == 4000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "colour = 1\n", "colour: there is no such setting"),
        (GOOD.replace("4000", "65536"), "port: Input should be less"),
        (GOOD.replace("4000", '"many"'), "port: Input should be a valid integer"),
        (GOOD.replace("4000", '"many"'), "write a whole number without quotes, as in port = 4000"),
        (GOOD + 'prot = "x"\n', "prot: there is no such setting; write port"),
        (GOOD + 'log_level = "loud"\n', "log_level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (
            GOOD + 'admin_host = "0.0.0.0"\n',
            'admin_host: only a loopback address will do: write admin_host = "127.0.0.1"',
        ),
        (GOOD + "admin_port = 0\n", "admin_port: Input should be greater"),
        (GOOD.replace('"data"', "[1]"), "data_dir: "),
        ("", "network: Field required"),
        ("port = -1\ncolour = 1\n", "colour: "),
        ("[network]\nx = 1\n", "network: "),
    ],
)
def test_wrong_field_is_named_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"node\.toml") as caught:
        load(tmp_path, text)
    assert told in caught.value.message


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "port = -1\ncolour = 1\n")
    assert all(f"{name}: " in caught.value.message for name in ("port", "colour", "network", "hotkey_file", "data_dir"))


@pytest.mark.parametrize(("name", "value"), [("PORT", "many"), ("PEERS", "not json")])
def test_wrong_environment_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"HIPPY_{name}", value)
    with pytest.raises(ConfigError, match=f"(?i){name}"):
        load(tmp_path, GOOD)


def test_a_wrong_value_is_named_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_PORT", "many")
    with pytest.raises(ConfigError, match=r"bad settings: --netuid: .*less than.*; HIPPY_PORT: .*valid integer"):
        load(tmp_path, GOOD, netuid=70_000)


def test_a_misspelled_variable_is_a_fault_and_that_of_another_role_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HIPPY_HOME", "HIPPY_NET", "HIPPY_DEBUG", "HIPPY_PROBE_HOST", "HIPPY_DISK_RESERVE_BYTES"):
        monkeypatch.setenv(name, "x")
    assert load(tmp_path, GOOD).port == 4000
    monkeypatch.setenv("HIPPY_NETWRK", "hunter2")
    with pytest.raises(ConfigError, match="HIPPY_NETWRK: no such setting") as caught:
        load(tmp_path, GOOD)
    assert caught.value.hint == "write HIPPY_NETWORK"
    assert caught.value.exit_code == 11


def test_every_value_has_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_LOG_LEVEL", "debug")
    (tmp_path / "node.toml").write_text(GOOD)
    loaded = load_with_sources(DemoSettings, tmp_path / "node.toml", {"wallet_name": "hippy"})
    assert set(loaded.sources) == set(DemoSettings.model_fields)
    named = {field: loaded.sources[field] for field in ("port", "log_level", "wallet_name", "hotkey_file", "netuid")}
    assert named == {
        "port": "file",
        "log_level": "HIPPY_LOG_LEVEL",
        "wallet_name": "--wallet.name",
        "hotkey_file": "default",  # the wallet took its place
        "netuid": "default",
    }


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o644, 0o602])
def test_a_secret_that_others_reach_is_a_fault(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hotkey"
    path.write_text("hunter2")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"hotkey, which hotkey_file names, has mode {mode:04o}") as caught:
        check_secret_file(path, "hotkey_file")
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_secret_that_the_node_alone_or_its_group_reads_is_fine(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hotkey"
    path.write_text("hunter2")
    path.chmod(mode)
    check_secret_file(path, "hotkey_file")
    check_secret_file(tmp_path / "none", "hotkey_file")  # whoever reads it says that it is missing


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://chain.example:443", "wss://chain.example:443"),
        ("wss://chain.example/hunter2", "wss://chain.example/***"),
        ("wss://me:hunter2@chain.example/?key=hunter2", "wss://chain.example/***"),
        ("finney", "finney"),
    ],
)
def test_a_providers_key_is_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked((url, 1)) == [shown, 1]


def test_value_of_a_wrong_field_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD + 'port_ = "hunter2"\n')
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("text", ["network = ", "= 1", "a = 1\na = 2", "[[", "\0"])
def test_bad_toml_is_a_config_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path, text)


def test_text_that_is_not_utf8_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes(b'network = "\xff"')
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_settings(DemoSettings, tmp_path / "node.toml")


def test_missing_file_directory_and_huge_file_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings .*none: No such file"):
        load_settings(DemoSettings, tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot read the settings"):
        load_settings(DemoSettings, tmp_path)
    with pytest.raises(ConfigError, match="too long"):
        load(tmp_path, "#" * (SETTINGS_BYTES_MAX + 1))


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, GOOD).port = 1  # type: ignore[misc]


def test_what_is_published_is_where_the_node_listens_unless_told_otherwise(tmp_path: Path) -> None:
    bound = Endpoint("10.0.0.5", 4100)

    def settings(**more: Any) -> NodeSettings:
        return NodeSettings(network="finney", hotkey_file=tmp_path, data_dir=tmp_path, host="10.0.0.5", **more)

    assert settings().published(bound) == bound
    behind = settings(publish_host="203.0.113.5", publish_port=80)
    assert (behind.published_host, behind.published(bound)) == ("203.0.113.5", Endpoint("203.0.113.5", 80))
    assert settings(publish_host="2001:db8::5").published(bound) == Endpoint("2001:db8::5", 4100)
