"""``hippy doctor --miner FILE``: what it finds of a node that is to start, and of one that runs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy
from hippy.clock import SystemClock
from hippy.identity import Identity, save_keyfile
from hippy.ids import NetworkId
from hippy.miner.settings import MinerSettings
from hippy.transport.admin import AdminPlace, Attached, admin_serving
from hippy.transport.hello import HelloDesk
from hippy.transport.server import build_app, serving
from hippy.validator.settings import ValidatorSettings

NODE = Identity.from_seed(b"n" * 32)
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*MinerSettings.model_fields, *ValidatorSettings.model_fields}:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def write(tmp_path: Path, **changes: object) -> Path:
    """A miner's settings that are good but for what is changed."""
    hotkey = tmp_path / "hotkey"
    if not hotkey.exists():
        save_keyfile(NODE, hotkey)
    values = {
        "network": "local:net",
        "hotkey_file": str(hotkey),
        "data_dir": str(tmp_path / "data"),
        "host": HOST,
        "port": free_port(),
        "admin_port": free_port(),
        "capacity_bytes": 1_000_000,
        "disk_reserve_bytes": 0,
        **changes,
    }
    file = tmp_path / "miner.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None))
    return file


def run(*args: str | Path) -> tuple[Result, dict[str, dict[str, Any]]]:
    done = CliRunner().invoke(hippy, ["doctor", *map(str, args), "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    return done, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def found(file: Path, name: str) -> tuple[str, str]:
    """A check's status, and what it says with its hint."""
    _, checks = run("--miner", file)
    return checks[name]["status"], f"{checks[name]['found']} | {checks[name]['hint']}"


@contextmanager
def running(host: str, port: int, admin_port: int, data_dir: Path, *, reason: str | None) -> Iterator[None]:
    """A node with our hotkey, in a thread: the command runs a loop of its own."""
    started, ended = threading.Event(), threading.Event()

    async def check() -> str | None:
        return reason

    async def serve() -> None:
        clock = SystemClock()
        desk = HelloDesk(NODE, "miner", NetworkId(b"N" * 32), 1, clock, space=lambda: (1, 0))
        async with (
            admin_serving(AdminPlace(host, admin_port, data_dir), clock) as admin,
            serving(build_app([desk.route()]), host, port),
        ):
            admin.attach(Attached(checks={"disk": check}))
            admin.announce()
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(timeout=20)
        yield
    finally:
        ended.set()
        thread.join()


def test_a_node_that_may_start_passes_and_nothing_is_made(tmp_path: Path) -> None:
    done, checks = run("--miner", write(tmp_path))
    assert done.return_value == 0
    names = ["python", "engine", "open files", "settings", "hotkey", "data", "port", "admin", "disk"]
    assert list(checks) == names
    assert {checks[name]["status"] for name in names[3:]} == {"ok"}
    assert NODE.ss58 in checks["hotkey"]["found"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hotkey", "miner.toml"]


def test_wrong_settings_are_the_only_check_of_a_node_and_exit_code_1(tmp_path: Path) -> None:
    done, checks = run("--miner", write(tmp_path, prot=1))
    assert done.return_value == 1
    assert list(checks)[3:] == ["settings"]
    assert "write port" in checks["settings"]["found"]


def test_a_hotkey_that_others_can_read_is_a_failure(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "hotkey").chmod(0o644)
    status, words = found(file, "settings")
    assert status == "failed"
    assert f"chmod 600 {tmp_path / 'hotkey'}" in words


def test_a_missing_hotkey_is_a_failure(tmp_path: Path) -> None:
    assert found(write(tmp_path, hotkey_file=str(tmp_path / "none")), "hotkey")[0] == "failed"


def test_a_data_directory_that_others_enter_is_a_warning(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    status, words = found(file, "data")
    assert (status, "chmod 700" in words) == ("warning", True)


def test_less_free_than_the_reserve_is_a_failure_and_a_small_disk_a_warning(tmp_path: Path) -> None:
    status, words = found(write(tmp_path, disk_reserve_bytes=2**60), "disk")
    assert (status, "507" in words) == ("failed", True)
    status, words = found(write(tmp_path, capacity_bytes=2**52), "disk")
    assert (status, "set capacity_bytes to at most" in words) == ("warning", True)


def test_a_port_of_another_program_is_a_failure(tmp_path: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind((HOST, 0))
        other.listen(1)
        status, words = found(write(tmp_path, port=other.getsockname()[1]), "port")
    assert (status, "another program" in words) == ("failed", True)


def test_an_address_of_another_machine_is_a_failure(tmp_path: Path) -> None:
    status, words = found(write(tmp_path, host="192.0.2.1"), "port")
    assert (status, "publish_host" in words) == ("failed", True)


def test_no_admin_port_is_a_warning(tmp_path: Path) -> None:
    assert found(write(tmp_path, admin_port=None), "admin")[0] == "warning"


@pytest.mark.parametrize(("reason", "status"), [(None, "ok"), ("/data cannot be written", "failed")])
def test_a_node_that_runs_is_recognised_and_asked_whether_it_is_ready(
    tmp_path: Path, reason: str | None, status: str
) -> None:
    port, admin_port = free_port(), free_port()
    file = write(tmp_path, port=port, admin_port=admin_port)
    with running(HOST, port, admin_port, tmp_path / "data", reason=reason):
        _, checks = run("--miner", file)
    assert checks["port"]["found"] == f"this node runs at {HOST}:{port}"
    assert checks["admin"]["status"] == status
    if reason is not None:
        assert f"disk: {reason}" in checks["admin"]["found"]


def test_a_validator_is_checked_by_its_own_settings(tmp_path: Path) -> None:
    text = [
        line for line in write(tmp_path).read_text().splitlines() if "capacity" not in line and "reserve" not in line
    ]
    file = tmp_path / "validator.toml"
    file.write_text("\n".join(text))
    done, checks = run("--validator", file)
    assert done.return_value == 0
    assert list(checks)[3:] == ["settings", "hotkey", "data", "port", "admin"]
