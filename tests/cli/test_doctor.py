"""``hippy doctor``: what it finds, what it advises, and when it fails."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.cli import doctor_client
from hippy.cli.checks import NODE_OPEN_FILES_MIN, Check, Status, check_engine, check_open_files, check_python
from hippy.cli.commands import hippy
from hippy.cli.doctor_client import (
    check_account,
    check_clock,
    check_miners,
    check_quota,
    check_state,
    check_validator,
)
from hippy.client.home import Credentials, find_home, network_credentials, save_credentials
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.erasure.engines import EngineChoice
from hippy.erasure.geometry import LOCAL
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.errors import TemporaryError, UnreachableError
from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.transport.hello import HelloDesk
from hippy.transport.server import build_app, serving

VALIDATOR = Identity.from_seed(b"v" * 32)
NETWORK = NetworkId(b"N" * 32)
CLOSED = Endpoint("127.0.0.1", 1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.delenv("HIPPY_NET", raising=False)
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def account(endpoint: Endpoint = CLOSED, *, local: bool = True) -> Credentials:
    return Credentials.of_seed(
        secrets.token_bytes(32),
        validator_endpoint=endpoint,
        validator_hotkey=VALIDATOR.public_key,
        network=NETWORK,
        netuid=1,
        local=local,
    )


@contextmanager
def validator(network: NetworkId = NETWORK) -> Iterator[Endpoint]:
    """A node that answers handshakes, in a thread: the command runs a loop of its own."""
    started, ended = threading.Event(), threading.Event()
    found: list[Endpoint] = []

    async def serve() -> None:
        desk = HelloDesk(VALIDATOR, "validator", network, 1, SystemClock())
        async with serving(build_app([desk.route()]), "127.0.0.1", 0) as endpoint:
            found.append(endpoint)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(timeout=20)
        yield found[0]
    finally:
        ended.set()
        thread.join()


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, ["doctor", *args], standalone_mode=False)


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in document["checks"]}


def test_without_an_account_it_says_so_and_nothing_has_failed() -> None:
    done = run()
    assert (done.exception, done.return_value) == (None, 0)
    assert "warning  account     none is set up here\n" in done.stdout
    assert "hint: hippy login for an account, or hippy net up -d for a local network" in done.stdout
    document = json.loads(run("--json").stdout)
    assert document["ok"] is True
    assert list(statuses(document)) == ["python", "engine", "open files", "state", "account"]


def test_with_a_network_that_runs_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    service = [check_quota(1, 10), check_miners(LOCAL)]
    monkeypatch.setattr(doctor_client, "check_service", lambda: iter(service))
    with validator() as endpoint:
        credentials = account(endpoint)
        save_credentials(find_home().credentials, credentials)
        done = run("--json")
    document = json.loads(done.stdout)
    assert done.return_value == 0
    names = ("state", "account", "validator", "clock", "quota", "miners")
    assert [statuses(document)[name] for name in names] == ["ok"] * 6
    assert credentials.account_ss58 in done.stdout


def test_no_secret_is_printed() -> None:
    credentials = account()
    save_credentials(find_home().credentials, credentials)
    for done in (run(), run("--json")):
        assert credentials.account_ss58 in done.output
        assert credentials.seed.hex() not in done.output


def test_a_failed_check_is_exit_code_1_and_the_others_are_made(home: Path) -> None:
    find_home().credentials.parent.mkdir(parents=True)
    find_home().credentials.write_text("no toml")
    done = run("--json")
    assert done.return_value == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert statuses(document)["account"] == "failed"
    assert statuses(document)["python"] == "ok"
    assert "hippy login --recover" in document["checks"][-1]["hint"]


def test_credentials_that_others_can_read_are_a_failure() -> None:
    path = find_home().credentials
    save_credentials(path, account())
    assert check_account()[0].status is Status.OK
    path.chmod(0o640)
    check, credentials = check_account()
    assert (check.status, check.hint) == (Status.FAILED, f"chmod 600 {path}")
    assert "mode 0640" in check.found
    assert credentials is not None  # its validator is asked all the same
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # nothing is changed


def test_the_local_network_in_use_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login, local = account(), account()
    save_credentials(find_home().credentials, login)
    save_credentials(network_credentials(tmp_path / "net"), local)
    assert login.account_ss58 in check_account()[0].found
    monkeypatch.setenv("HIPPY_NET", str(tmp_path / "net"))
    check, _ = check_account()
    assert local.account_ss58 in check.found
    assert str(network_credentials(tmp_path / "net")) in check.found


def test_a_local_network_that_is_gone_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_NET", str(tmp_path / "gone"))
    check, credentials = check_account()
    assert (check.status, credentials) == (Status.FAILED, None)
    assert "has no credentials" in check.found


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_directory_that_cannot_be_entered_is_a_failure(home: Path) -> None:
    save_credentials(find_home().credentials, account())
    home.chmod(0)
    check, _ = check_account()
    home.chmod(0o700)
    assert check.status is Status.FAILED


def test_a_local_validator_that_is_down_is_a_warning() -> None:
    check, hello = check_validator(account())
    assert hello is None
    assert check.status is Status.WARNING
    assert check.hint is not None
    assert "hippy net up -d" in check.hint


def test_a_validator_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_: Credentials) -> None:
        raise UnreachableError("no answer")

    monkeypatch.setattr(doctor_client, "_meet", nobody)
    check, _ = check_validator(account(local=False))
    assert (check.status, check.found) == (Status.FAILED, "no answer")
    assert check.hint


def test_another_network_at_the_validators_address_is_a_failure() -> None:
    with validator(NetworkId(b"O" * 32)) as endpoint:
        check, _ = check_validator(account(endpoint))
    assert check.status is Status.FAILED
    assert "belongs to another network" in check.found
    assert check.hint


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 14), Status.FAILED), ((3, 11, 0), Status.OK), ((3, 14, 1), Status.OK)]
)
def test_python_is_new_enough_or_not(version: tuple[int, int, int], status: Status) -> None:
    assert check_python(version).status is status


def test_the_fast_engine_is_named_with_its_library() -> None:
    check = check_engine(EngineChoice(ZfecEngine(), "isa-l", "libisal.so.2", None), "Linux")
    assert check.status is Status.OK
    assert "isa-l from libisal.so.2" in check.found


@pytest.mark.parametrize(("system", "words"), [("Linux", "pip install pyeclib"), ("Darwin", "everything works")])
def test_the_slow_engine_comes_with_its_reason_and_a_remedy(system: str, words: str) -> None:
    check = check_engine(EngineChoice(ZfecEngine(), "zfec", None, "no ISA-L library was found"), system)
    assert check.status is Status.WARNING
    assert check.found.endswith("because no ISA-L library was found")
    assert check.hint is not None
    assert words in check.hint


@pytest.mark.parametrize(("limit", "status"), [(1_023, Status.WARNING), (1_024, Status.OK), (None, Status.OK)])
def test_few_open_files_are_a_warning(limit: int | None, status: Status) -> None:
    check = check_open_files(limit)
    assert (check.status, check.hint is None) == (status, status is Status.OK)


def test_a_node_needs_more_open_files_than_a_client() -> None:
    assert check_open_files(NODE_OPEN_FILES_MIN - 1).status is Status.OK
    assert check_open_files(NODE_OPEN_FILES_MIN - 1, least=NODE_OPEN_FILES_MIN).status is Status.WARNING


@pytest.mark.parametrize("skew", [60, 0, -60])
def test_a_clock_within_a_minute_is_fine(skew: int) -> None:
    assert check_clock(1_800_000_000, 1_800_000_000 + skew).status is Status.OK


@pytest.mark.parametrize(("skew", "words"), [(61, "61 s ahead of"), (-100, "100 s behind")])
def test_a_clock_further_off_comes_with_a_remedy(skew: int, words: str) -> None:
    check = check_clock(1_800_000_000, 1_800_000_000 + skew)
    assert check.status is Status.WARNING
    assert words in check.found
    assert "timedatectl set-ntp true" in (check.hint or "")


@pytest.mark.parametrize(("used", "status"), [(89, Status.OK), (90, Status.WARNING), (101, Status.WARNING)])
def test_a_quota_that_is_nearly_full_is_a_warning(used: int, status: Status) -> None:
    check = check_quota(used, 100)
    assert (check.status, check.hint is None) == (status, status is Status.OK)


def test_an_account_without_any_quota_is_a_warning() -> None:
    assert check_quota(0, 0).status is Status.WARNING


def test_too_few_miners_are_told_with_what_would_do() -> None:
    check: Check = check_miners(TemporaryError("4 are live, 10 are needed", hint="--ec 2/4"))
    assert (check.status, check.found, check.hint) == (Status.WARNING, "4 are live, 10 are needed", "--ec 2/4")


def test_a_state_directory_that_cannot_be_made_is_a_failure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_state().status is Status.OK
    assert not home.exists()  # looking changes nothing
    home.write_text("a file where a directory is to be")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).is_dir())  # root may do anything
    check = check_state()
    assert check.status is Status.FAILED
    assert "HIPPY_HOME" in (check.hint or "")
