"""``hippy validator account``: sizes as people write them, and what is said when there is nobody to ask."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from click import BadParameter, Context
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy
from hippy.cli.validator_account import BYTES_MAX, PAY_CLASSES, account, set_account, size_of
from hippy.errors import ConfigError, UnreachableError, UsageError
from hippy.identity import Identity, save_keyfile
from hippy.transport.admin_token import admin_token
from hippy.validator.settings import ValidatorSettings
from hippy.wire.fields import INTEGER_MAX

ADDRESS = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ValidatorSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


def size(told: str) -> int:
    return size_of(Context(account), set_account.params[0], told)


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ("0", 0),
        ("1234", 1234),
        ("100GB", 100 * 10**9),
        ("100 gb", 100 * 10**9),
        ("1.5TiB", 3 * 2**39),
        ("0.5KB", 500),
        ("1B", 1),
        ("0.1B", 0),
        (str(BYTES_MAX), BYTES_MAX),
    ],
)
def test_a_size_is_bytes(told: str, count: int) -> None:
    assert size(told) == count


@pytest.mark.parametrize("told", ["", "much", "-1", "1e9", "10 XB", "1.2.3GB", "9007199254740992", "9PiB"])
def test_what_is_no_size_is_a_mistake(told: str) -> None:
    with pytest.raises(BadParameter):
        size(told)


def test_limits_and_classes_are_those_of_the_protocol() -> None:
    assert BYTES_MAX == INTEGER_MAX
    assert set(PAY_CLASSES) == {"paid", "unpaid", "canary"}


def run(tmp_path: Path, *args: str, admin_port: int | None) -> Result:
    if not (tmp_path / "hotkey").exists():
        save_keyfile(Identity.from_seed(b"v" * 32), tmp_path / "hotkey")
    lines = [
        'network = "local:net"',
        f'hotkey_file = "{tmp_path / "hotkey"}"',
        f'data_dir = "{tmp_path}"',
        *([] if admin_port is None else [f"admin_port = {admin_port}"]),
    ]
    config = tmp_path / "validator.toml"
    config.write_text("\n".join(lines))
    return CliRunner().invoke(hippy, ["validator", "account", *args, "--config", str(config)])


def test_settings_without_an_admin_port_say_what_to_add(tmp_path: Path) -> None:
    error = run(tmp_path, "list", admin_port=None).exception
    assert isinstance(error, ConfigError)
    assert "admin_port = 4201" in (error.hint or "")


def test_a_validator_that_was_never_started_has_no_token(tmp_path: Path) -> None:
    error = run(tmp_path, "list", admin_port=1).exception
    assert isinstance(error, ConfigError)
    assert "admin.token" in error.message


def test_a_validator_that_does_not_run_is_unreachable(tmp_path: Path) -> None:
    admin_token(tmp_path)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))  # bound, so nobody else takes it; not listening
        error = run(tmp_path, "list", admin_port=probe.getsockname()[1]).exception
    assert isinstance(error, UnreachableError)
    assert "does the node run" in (error.hint or "")


def test_what_is_no_address_is_a_mistake(tmp_path: Path) -> None:
    error = run(tmp_path, "set", ADDRESS[:-1] + "X", "--quota", "1GB", admin_port=1).exception
    assert isinstance(error, UsageError)
