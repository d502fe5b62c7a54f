"""What an operator sees of real nodes: health, metrics, doctor, accounts, and what a service manager is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from hippy.clock import SystemClock
from hippy.net.plan import NodePlan, create_plan, load_plan
from hippy.transport.admin_token import read_token
from tests.e2e.local import Shell

pytestmark = pytest.mark.e2e

STRANGER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def node(shell: Shell, name: str) -> NodePlan:
    plan = load_plan(shell.net_dir)
    assert plan is not None
    return plan.node(name)


def ask(shell: Shell, name: str, path: str, *, token: bool = False) -> tuple[int, str]:
    of = node(shell, name)
    request = Request(f"http://{of.host}:{of.admin_port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {read_token(shell.node_dir(name) / 'data')}")
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("name", ["miner1", "validator1"])
def test_a_running_node_is_alive_and_ready(shared_network: Shell, name: str) -> None:
    assert ask(shared_network, name, "/livez")[0] == 200
    assert ask(shared_network, name, "/readyz") == (200, '{"ready": true, "reasons": {}}')
    assert ask(shared_network, name, "/metrics")[0] == 401


def test_metrics_follow_what_happens(shared_network: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(os.urandom(300_000))
    shared_network.run("put", tmp_path / "a.bin", "hippy://operations/a.bin")
    text = "".join(ask(shared_network, f"miner{number}", "/metrics", token=True)[1] for number in range(1, 9))
    used = [float(value) for value in re.findall(r"^hippy_miner_used_bytes (\S+)$", text, re.MULTILINE)]
    assert len(used) == 8
    assert sum(used) > 300_000
    assert 'hippy_miner_uploads_total{outcome="stored"}' in text
    assert 'hippy_http_requests_total{method="PUT",route="/v1/pieces/{root}",status="200"}' in text
    status, text = ask(shared_network, "validator1", "/metrics", token=True)
    assert status == 200
    assert 'hippy_validator_miners{state="live"} 8.0' in text
    assert re.search(r"^hippy_validator_used_bytes [1-9]", text, re.MULTILINE)
    assert re.search(r"^hippy_validator_epochs_behind [01]", text, re.MULTILINE)
    assert re.search(r"^hippy_validator_batches_owed \d", text, re.MULTILINE)


def test_doctor_is_content_with_a_running_network(shared_network: Shell) -> None:
    checks = {check["name"]: check for check in shared_network.json("doctor")["checks"]}
    assert {checks[name]["status"] for name in ("state", "account", "validator", "clock", "quota", "miners")} == {"ok"}
    settings = [shared_network.node_dir(name) / "settings.toml" for name in ("miner1", "validator1")]
    told = shared_network.json("doctor", "--miner", settings[0], "--validator", settings[1])
    assert told["ok"] is True, told
    said = [check["found"] for check in told["checks"] if check["name"] in ("port", "admin")]
    assert ["runs at" in words or "is ready" in words for words in said] == [True] * 4


def test_accounts_are_set_while_the_validator_runs(shared_network: Shell) -> None:
    config = ("--config", shared_network.node_dir("validator1") / "settings.toml")
    account = ("validator", "account")
    done = shared_network.json(*account, "set", STRANGER, "--quota", "100GB", "--class", "unpaid", *config)
    assert (done["account"], done["quota_bytes"], done["pay_class"]) == (STRANGER, 100 * 10**9, "unpaid")
    shared_network.run(*account, "set", STRANGER, "--quota", "1.5GiB", "--class", "paid", *config)
    shown = shared_network.json(*account, "show", STRANGER, *config)
    assert (shown["quota_bytes"], shown["pay_class"], shown["used_bytes"]) == (1_610_612_736, "paid", 0)
    listed = shared_network.json(*account, "list", *config)["accounts"]
    assert STRANGER in {each["account"] for each in listed}
    assert shared_network.json("whoami")["account"] in {each["account"] for each in listed}
    other = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
    shared_network.run(*account, "show", other, *config, code=3)
    shared_network.run(*account, "show", "5Fnonsense", *config, code=2)
    shared_network.run(*account, "set", STRANGER, "--quota", "much", *config, code=2)


def test_a_token_that_others_can_read_is_not_used(shared_network: Shell) -> None:
    token = shared_network.node_dir("validator1") / "data" / "admin.token"
    config = ("--config", shared_network.node_dir("validator1") / "settings.toml")
    token.chmod(0o644)
    try:
        done = shared_network.run("validator", "account", "list", *config, code=11)
    finally:
        token.chmod(0o600)
    assert b"chmod 600" in done.stderr
    assert token.read_bytes().strip() not in done.stderr


def test_a_node_says_ready_when_it_is_and_stops_when_told(tmp_path: Path) -> None:
    directory = tmp_path / "net"
    plan = asyncio.run(create_plan(directory, miners=1, validators=1, clock=SystemClock()))
    (validator,) = plan.of_role("validator")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        shell = Shell(tmp_path / "home")
        process = subprocess.Popen(
            [sys.executable, "-m", "hippy.cli", "validator", "run", "--config", str(plan.settings_file(validator))],
            stderr=subprocess.PIPE,
            env={**shell.environment(), "NOTIFY_SOCKET": str(tmp_path / "notify"), "HIPPY_LOG_LEVEL": "debug"},
        )
        try:
            assert manager.recv(4096).decode() == f"READY=1\nSTATUS=listening on {validator.endpoint}"
            with urlopen(f"http://{validator.host}:{validator.admin_port}/readyz", timeout=20) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    lines = told.decode().splitlines()
    assert f"listening on {validator.endpoint}" in lines
    for line in lines:
        assert line.startswith("listening on ") or json.loads(line)["level"]
