"""Two processes of one validator over one PostgreSQL database: each serves what the other wrote, and outlives it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hippy.client.home import find_home, load_credentials, network_credentials, save_credentials
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.net.plan import create_plan, load_plan
from tests.e2e.conftest import ROUNDS
from tests.e2e.local import Shell, same_tree, write_tree
from tests.e2e.processes import wait_until
from tests.postgres.server import fresh_schema, some_server

pytestmark = [pytest.mark.e2e, pytest.mark.postgres]

MINERS = 8
EPOCH_SECONDS = 40.0
STOP_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class SecondProcess:
    """The validator's second process, and a client's home that names it."""

    endpoint: Endpoint
    client: Shell
    log: Path

    def said(self, words: str) -> bool:
        return words in self.log.read_text(encoding="utf-8")


@pytest.fixture
def registry() -> Iterator[str]:
    with some_server() as server_url, fresh_schema(server_url) as url:
        yield url


@contextmanager
def running_on(home: Path, miners: int, registry: str, *, epoch_seconds: float = 4320.0) -> Iterator[Shell]:
    """Run a network whose validator has its registry on PostgreSQL."""
    shell = Shell(home)
    plan = asyncio.run(
        create_plan(
            shell.net_dir,
            miners=miners,
            validators=1,
            clock=SystemClock(),
            block_seconds=epoch_seconds / ROUNDS,
            tempo_blocks=ROUNDS,
        )
    )
    with plan.settings_file(plan.node("validator1")).open("a", encoding="utf-8") as settings:
        settings.write(f"registry = {json.dumps(registry)}\n")
    shell.run("net", "up", "-d")
    try:
        yield shell
    finally:
        shell.stop()


@contextmanager
def second_process(first: Shell, registry: str, home: Path) -> Iterator[SecondProcess]:
    """Run ``hippy validator run`` once more with the settings, the key and the data_dir of the first process."""
    plan = load_plan(first.net_dir)
    assert plan is not None
    node = plan.node("validator1")
    port, admin_port = _free_ports(node.host)
    command = [sys.executable, "-m", "hippy.cli", "validator", "run", "--config", str(plan.settings_file(node))]
    command += ["--registry", registry, "--port", str(port), "--admin-port", str(admin_port)]
    environment = {**first.environment(), "HIPPY_PUBLISH_PORT": str(node.port)}  # as behind a balancer
    log, endpoint = home.with_suffix(".log"), Endpoint(node.host, port)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=output)
    try:
        second = SecondProcess(endpoint, Shell(home), log)
        wait_until(lambda: second.said("listening on"), seconds=120, what=f"the second process: {log.read_text()}")
        credentials = load_credentials(network_credentials(first.net_dir))
        place = find_home(second.client.environment()).credentials
        save_credentials(place, replace(credentials, validator_endpoint=endpoint))
        yield second
    finally:
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0, log.read_text()


def _free_ports(host: str) -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind((host, 0))
        other.bind((host, 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.mark.timeout(900)
def test_two_processes_are_one_validator_and_one_goes_on_when_the_other_dies(tmp_path: Path, registry: str) -> None:
    source = tmp_path / "source"
    write_tree(source)
    with (
        running_on(tmp_path / "home", MINERS, registry, epoch_seconds=EPOCH_SECONDS) as first,
        second_process(first, registry, tmp_path / "home2") as second,
    ):
        _check_that_both_write_and_read(first, second, source, tmp_path)
        before = _newest_epoch(second)
        first.run("net", "kill", "validator1")
        wait_until(lambda: second.said("audit is done by this process"), seconds=120, what="the audits' new process")

        second.client.run("get", "-r", "hippy://b/one/", tmp_path / "survived")
        assert same_tree(source, tmp_path / "survived")
        second.client.run("put", "-r", source, "hippy://b/three/")
        wait_until(
            lambda: _newest_epoch(second) > before + 1, seconds=300, what="an epoch that the second process ends"
        )
        chain = f"local:{first.net_dir}"
        verified = first.run("validator", "verify-weights", str(second.endpoint), "--network", chain, "--netuid", "1")
        assert b"epoch" in verified.stdout

        first.run("net", "start", "validator1")
        first.run("get", "-r", "hippy://b/three/", tmp_path / "returned")
        assert same_tree(source, tmp_path / "returned")


def _check_that_both_write_and_read(first: Shell, second: SecondProcess, source: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:  # at once, so that their records interleave
        jobs = [
            threads.submit(first.run, "put", "-r", source, "hippy://b/one/"),
            threads.submit(second.client.run, "put", "-r", source, "hippy://b/two/"),
        ]
        for job in jobs:
            job.result()
    second.client.run("get", "-r", "hippy://b/one/", tmp_path / "one")
    first.run("get", "-r", "hippy://b/two/", tmp_path / "two")
    assert same_tree(source, tmp_path / "one")
    assert same_tree(source, tmp_path / "two")
    both = [shell.json("ls", "-r", "hippy://b/") for shell in (first, second.client)]
    assert both[0] == both[1]


def _newest_epoch(second: SecondProcess) -> int:
    with urllib.request.urlopen(f"{second.endpoint.url}/v1/epochs", timeout=10) as answer:
        newest: int = json.load(answer)["last"]
    return newest


def test_process_with_other_secrets_than_the_registrys_does_not_start(tmp_path: Path, registry: str) -> None:
    with running_on(tmp_path / "home", 1, registry) as first:
        plan = load_plan(first.net_dir)
        assert plan is not None
        settings = plan.settings_file(plan.node("validator1"))
        environment = {"HIPPY_DATA_DIR": str(tmp_path / "other"), "HIPPY_PORT": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "hippy.cli", "validator", "run", "--config", str(settings)],
            env={**first.environment(), **environment, "HIPPY_ADMIN_PORT": str(_free_ports("127.0.0.1")[0])},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 11, done.stderr.decode()
    assert b"placement.secret is not the one that this registry's other processes have" in done.stderr
