"""``hippy validator verify-weights``: what a person is told, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.cli.commands import hippy
from hippy.client.home import Credentials, network_credentials, save_credentials
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, ProtocolError, UnreachableError, UsageError
from hippy.ids import PublicKey
from hippy.kv import Transaction
from hippy.testing.clock import VirtualClock
from hippy.validator.audit.schedule import BatchKey, Scheduled
from hippy.wire.audit import EpochHeader
from hippy.wire.score import ScoreSheet
from tests.validator import audit_record
from tests.validator.audit_record import (
    AUDITED,
    BEACON_SECRET,
    COLDKEY,
    LAST,
    TEMPO,
    HonestValidator,
    Record,
    metagraph_at,
    record_of,
)
from tests.validator.audit_server import RecordServer
from tests.validator.world import HOME

CLOSED = Endpoint("127.0.0.1", 1)


@pytest.fixture(autouse=True, scope="module")
def _now() -> Iterator[None]:
    """Records are of this hour: the command knows no other clock than the machine's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_record, "START_SECONDS", time.time() - (LAST + 0.5) * TEMPO)
        yield


@pytest.fixture(scope="module")
def record(_now: None) -> Record:
    """What an honest validator publishes; one batch was answered an epoch late."""

    class Quiet(HonestValidator):
        def is_answered(self, key: BatchKey, attempt: int) -> bool:
            return key != BatchKey(12, AUDITED[0].public_key, 0) or attempt == 1

    return asyncio.run(record_of(Quiet()))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local network in use, in the middle of epoch 14."""
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HIPPY_NET", str(tmp_path))
    path = tmp_path / CHAIN_FILE
    born = VirtualClock(time.time() - (LAST + 0.5) * TEMPO)
    LocalChain.create(
        path,
        clock=born,
        network=HOME.network,
        genesis_secret=BEACON_SECRET,
        netuid=HOME.netuid,
        block_seconds=1.0,
        tempo_blocks=TEMPO,
    )

    async def register() -> None:
        async with open_local_chain(path, hotkey=HOME.hotkey, clock=born) as chain:
            for neuron in metagraph_at(0).neurons:
                await chain.register(neuron.hotkey, COLDKEY, validator_permit=neuron.uid == 0, stake_rao=1)
            await chain.set_weights(dict.fromkeys(range(1, len(AUDITED) + 1), 1.0))

    asyncio.run(register())
    return tmp_path


@contextmanager
def served(record: Record) -> Iterator[Endpoint]:
    """Serve a record in a thread, since the command runs a loop of its own."""
    bound: list[Endpoint] = []
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with RecordServer(record).serving(SystemClock()) as endpoint:
            bound.append(endpoint)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield bound[0]
    finally:
        ended.set()
        thread.join()


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(hippy, ["validator", "verify-weights", *arguments], standalone_mode=False)


def log_in(network: Path, endpoint: Endpoint, hotkey: PublicKey = HOME.hotkey) -> None:
    credentials = Credentials.of_seed(
        b"a" * 32,
        validator_endpoint=endpoint,
        validator_hotkey=hotkey,
        network=HOME.network,
        netuid=HOME.netuid,
        local=True,
    )
    save_credentials(network_credentials(network), credentials)


def test_an_honest_validator_matches(network: Path, record: Record) -> None:
    with served(record) as endpoint:
        result = verify(f"http://{endpoint}/", "--epochs", "2")
    assert result.return_value == 0, result.output
    first, word, second, other, weights, verdict = result.stdout.splitlines()
    assert first == (
        "epoch 12: MATCH  3 miners, 12 batches, 12 requests drawn again, 704 verdicts computed again: "
        "704 leaves ok, 0 bad"
    )
    assert word == "  the validator's word: 1 silent (8.3 % of entries); uptime, reads, speed, which data is paid"
    assert second.startswith("epoch 13: MATCH  3 miners, 12 batches, 13 requests drawn again, 832 verdicts")
    assert other == "  the validator's word: nothing (0.0 % of entries); uptime, reads, speed, which data is paid"
    assert weights == "weights on chain: those of the sheet of epoch 13"
    assert verdict == f"MATCH  {HOME.identity.ss58}, 2 epochs"


def test_the_validator_of_the_account_in_use_is_the_default(network: Path, record: Record) -> None:
    with served(record) as endpoint:
        log_in(network, endpoint)
        result = verify("--json", "--epochs", "1")
    assert result.return_value == 0, result.output
    told = json.loads(result.stdout)
    assert (told["match"], told["validator"], told["difference"]) == (True, HOME.identity.ss58, None)
    assert (told["weights_epoch"], told["newest_epoch"], told["chain_epoch"]) == (13, 14, 14)
    assert (told["rules_differ"], told["remarks"], told["order_epochs"]) == (False, [], 3)
    assert [(row["entries"], row["answered"], row["silent"]) for row in told["testimony"]] == [
        (5, 5, 0) if row["miner"] == AUDITED[0].ss58 else (4, 4, 0) for row in told["testimony"]
    ]
    (epoch,) = told["epochs"]
    assert (epoch["epoch"], epoch["batches"], epoch["entries"], epoch["testimony_ppm"]) == (13, 12, 13, 0)


def test_somebody_else_at_the_accounts_validator_is_refused(network: Path, record: Record) -> None:
    with served(record) as endpoint:
        log_in(network, endpoint, AUDITED[0].public_key)
        result = verify()
    assert isinstance(result.exception, ProtocolError)
    assert "answered the handshake as" in str(result.exception)


def test_the_first_difference_is_named_and_exits_with_6(network: Path) -> None:
    class Skips(HonestValidator):
        def planned(self, header: EpochHeader) -> list[Scheduled]:
            skipped = BatchKey(12, AUDITED[0].public_key, 2)
            return [due for due in super().planned(header) if due.key != skipped]

    lies = asyncio.run(record_of(Skips()))
    where = f"epoch 12, miner {AUDITED[0].ss58}, batch 2"
    with served(lies) as endpoint:
        result = verify(str(endpoint))
        told = verify(str(endpoint), "--json")
    assert (result.return_value, told.return_value) == (6, 6)
    first, _, *rest = result.stdout.splitlines()
    assert first.startswith("epoch 11: MATCH")
    assert rest == [
        f"DIFFERENCE  {where}: the batch was expected in the transcript, asked or given up, and is not there: "
        "it was skipped"
    ]
    said = json.loads(told.stdout)
    assert said["match"] is False
    assert [epoch["epoch"] for epoch in said["epochs"]] == [11]
    assert said["difference"]["message"].startswith(where)
    assert (said["difference"]["epoch"], said["difference"]["batch"]) == (12, 2)
    assert said["difference"]["miner"] == AUDITED[0].ss58


def test_what_no_rule_forbids_is_a_warning(network: Path) -> None:
    class Generous(HonestValidator):
        def sheet(self, txn: Transaction, epoch: int) -> ScoreSheet:
            return self.with_rules(txn, epoch, unpaid_percent=100)

    generous = asyncio.run(record_of(Generous()))
    with served(generous) as endpoint:
        result = verify(str(endpoint))
        told = verify(str(endpoint), "--json")
    assert (result.return_value, told.return_value) == (0, 0)
    what = "epoch 13: its scores have rules of their own: unpaid_percent 100, not 10"
    assert f"WARNING  {what}" in result.stdout.splitlines()
    said = json.loads(told.stdout)
    assert (said["match"], said["rules_differ"]) == (True, True)
    assert said["remarks"] == [{"epoch": 13, "miner": None, "message": what}]


def test_what_takes_long_is_told_besides(network: Path, record: Record) -> None:
    with served(record) as endpoint:
        result = verify(str(endpoint), "--epochs", "1")
    assert "reading what was asked before: 0 of 3 epochs" in result.stderr


def test_a_subnet_that_the_network_does_not_have_is_refused(network: Path) -> None:
    result = verify(str(CLOSED), "--netuid", "9")
    assert isinstance(result.exception, ConfigError)
    assert "has subnet 7, not subnet 9" in str(result.exception)


@pytest.mark.parametrize("url", ["http://validator.example:80", "127.0.0.1", "https://127.0.0.1:80"])
def test_a_url_without_a_numeric_address_is_refused(network: Path, url: str) -> None:
    result = verify(url)
    assert isinstance(result.exception, UsageError)
    assert result.exception.hint == "it has a numeric address: http://1.2.3.4:8080"


def test_a_network_of_many_subnets_needs_the_number(network: Path) -> None:
    result = verify(str(CLOSED), "--network", "finney")
    assert isinstance(result.exception, UsageError)
    assert result.exception.hint == "add --netuid N"


def test_without_any_network_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path))
    monkeypatch.delenv("HIPPY_NET", raising=False)
    result = verify(str(CLOSED))
    assert isinstance(result.exception, UsageError)
    assert result.exception.hint == "name it: --network finney --netuid N"


def test_a_validator_that_is_away_is_said_to_be(network: Path) -> None:
    assert isinstance(verify(str(CLOSED)).exception, UnreachableError)
