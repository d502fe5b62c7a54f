"""A private network: a keeper, nodes and a client that share nothing but addresses and keys (docs/OPERATING.md)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.processes import wait_until

pytestmark = pytest.mark.e2e

MINERS = 4
HIPPY = [sys.executable, "-m", "hippy.cli"]


class Machine:
    """One machine's directory and environment: nothing of the others is in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "log.txt"
        directory.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HIPPY_")}
        self.environment = {**kept, "HIPPY_HOME": str(directory / "home")}

    def run(self, *arguments: object, given: str = "") -> str:
        done = subprocess.run(
            [*HIPPY, *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *arguments: object) -> Iterator[None]:
        """Run a daemon while the context lasts; what it says is in ``said``."""
        with self._log.open("wb") as log:
            command = [*HIPPY, *map(str, arguments)]
            self._process = subprocess.Popen(command, cwd=self.directory, env=self.environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            self._process.terminate()
            self._process.wait(timeout=20)

    def said(self, pattern: str) -> str:
        """Return what the daemon says where ``pattern`` has its group, waiting for it."""
        wait_until(
            lambda: re.search(pattern, self._log.read_text()) is not None or self._process.poll() is not None,
            seconds=60,
            what=pattern,
        )
        found = re.search(pattern, self._log.read_text())
        assert found is not None, self._log.read_text()
        return found[1]


def test_nodes_on_several_machines_store_and_return_data(tmp_path: Path) -> None:
    keeper = Machine(tmp_path / "keeper")
    keeper.run("chain", "create", "net", "--block-seconds", "1", "--tempo", "20")
    with ExitStack() as stack:
        stack.enter_context(keeper.running("chain", "serve", "net", "--host", "127.0.50.1", "--port", "0"))
        network = keeper.said('"(private:[^"]+)"')
        nodes = {}
        for role, number in (("validator", 1), *(("miner", number) for number in range(1, MINERS + 1))):
            nodes[role, number] = machine = Machine(tmp_path / f"{role}{number}")
            hotkey = machine.run("chain", "hotkey", "hotkey").strip()
            keeper.run("chain", "admit", "net", hotkey, *(["--validator"] if role == "validator" else []))
            machine.directory.joinpath("settings.toml").write_text(_settings(role, number, network))
            stack.enter_context(machine.running(role, "run", "--config", "settings.toml"))
        client = Machine(tmp_path / "client")
        validator = nodes["validator", 1].said(r"listening on (\S+)")
        client.run("login", "--validator", validator)
        data = os.urandom(300_000)
        client.directory.joinpath("file").write_bytes(data)
        wait_until(lambda: live_miners(validator) == MINERS, seconds=60, what="four live miners", pause=0.25)
        client.run("put", "--ec", "2/4", "file", "hippy://b/file")
        client.run("get", "hippy://b/file", "back")
        assert client.directory.joinpath("back").read_bytes() == data


def live_miners(validator: str) -> int:
    with urlopen(f"http://{validator}/v1/miners", timeout=20) as answer:
        return sum(miner["state"] == "live" for miner in json.load(answer)["miners"])


def _settings(role: str, number: int, network: str) -> str:
    lines = [
        f'network = "{network}"',
        f'host = "127.0.{50 + number if role == "miner" else 60}.1"',
        "port = 0",
        'hotkey_file = "hotkey"',
        'data_dir = "data"',
    ]
    if role == "validator":
        lines += ["unpaid_quota_bytes = 100_000_000", "probe_seconds = 2", "probe_stale_seconds = 10"]
    else:
        lines += ["capacity_bytes = 1_000_000_000", "disk_reserve_bytes = 0"]
    return "\n".join(lines)
