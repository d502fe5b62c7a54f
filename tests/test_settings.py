"""Settings: the environment wins over the file, and every fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from hippy.errors import ConfigError
from hippy.settings import SETTINGS_BYTES_MAX, NodeSettings, load_settings


class DemoSettings(NodeSettings):
    """A role's settings."""

    capacity_bytes: Annotated[int, Field(ge=0)] = 0
    peers: tuple[str, ...] = ()


GOOD = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\nport = 4000\n'


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DemoSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


def load(tmp_path: Path, text: str) -> DemoSettings:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return load_settings(DemoSettings, path)


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


def test_dotenv_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("HIPPY_PORT=5000\n")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, GOOD).port == 4000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "colour = 1\n", "colour: Extra inputs"),
        (GOOD.replace("4000", "65536"), "port: Input should be less"),
        (GOOD.replace("4000", '"many"'), "port: Input should be a valid integer"),
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
