"""``hippy miner explain`` against a validator's answers on a loopback address."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from hippy.cli.commands import hippy
from hippy.client.home import Credentials, find_home, network_credentials, save_credentials
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, NotFoundError, ProtocolError, UnreachableError, UsageError
from hippy.identity import Identity, save_keyfile, ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.net.plan import PLAN_FILE, PLAN_VERSION, NetworkPlan, NodePlan
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, message_response, serving
from hippy.validator.explain import factors
from hippy.wire.score import AccountBytes, MinerReport, ScoreRules
from tests.validator.score_world import scored
from tests.wire.audit_samples import FAILURE, PAST

VALIDATOR, MINER, OTHER = (Identity.from_seed(seed * 32) for seed in (b"v", b"m", b"o"))
NETWORK = NetworkId(b"n" * 32)
SCORE = scored(hotkey=MINER.public_key)
REPORT = MinerReport(
    validator=VALIDATOR.public_key,
    hotkey=MINER.public_key,
    time=1_800_000_000,
    epoch=7,
    state="live",
    score=SCORE,
    share_ppm=123_456,
    owed_batches=2,
    factors=factors(SCORE.model_copy(update={"leaves_ok": 243, "leaves_bad": 13, "proof_ppm": 176_400}), ScoreRules()),
    history=tuple(PAST.model_copy(update={"epoch": epoch}) for epoch in range(30, 10, -1)),
    failures=(FAILURE, FAILURE.model_copy(update={"kind": "unanswered", "epoch": 5, "roots": ()})),
    accounts=tuple(AccountBytes(account=PublicKey(bytes([n]) * 32), bytes=2**30) for n in range(1, 13)),
)


class Validator:
    """A validator that tells what it is given, in a thread of its own."""

    def __init__(self) -> None:
        self.report = REPORT
        self.asked: list[str] = []
        self.endpoint = Endpoint("127.0.0.1", 1)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.match_info["hotkey"])
        if self.asked[-1] == OTHER.public_key.hex():
            raise NotFoundError("no such miner")
        return message_response(self.report)

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        desk = HelloDesk(VALIDATOR, "validator", NETWORK, 1, SystemClock())
        app = build_app([desk.route(), Route("GET", "/v1/miners/{hotkey}", self.answer)])
        async with serving(app, "127.0.0.1", 0) as self.endpoint:
            ready.set()
            await over.wait()


@pytest.fixture
def validator() -> Iterator[Validator]:
    """A validator that listens; commands bring an event loop of their own."""
    told, ready = Validator(), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(told.serve(ready, over)))
    thread.start()
    try:
        assert ready.wait(10)
        yield told
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.delenv("HIPPY_NET", raising=False)
    monkeypatch.setenv("HIPPY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def network(tmp_path: Path, validator: Validator) -> Path:
    """A local network in use: validator1, miner1 and miner3, whose hotkey is MINER's."""
    directory = tmp_path / "net"
    nodes = (
        NodePlan("validator1", "validator", "127.0.0.1", validator.endpoint.port),
        NodePlan("miner1", "miner", "127.0.0.1", 2),
        NodePlan("miner3", "miner", "127.0.0.1", 3),
    )
    plan = NetworkPlan(directory, nodes)
    for node, identity in zip(nodes, (VALIDATOR, OTHER, MINER), strict=True):
        plan.hotkey_file(node).parent.mkdir(parents=True)
        save_keyfile(identity, plan.hotkey_file(node))
    (directory / PLAN_FILE).write_text(json.dumps({"version": PLAN_VERSION, "nodes": [asdict(n) for n in nodes]}))
    save_credentials(network_credentials(directory), account(validator.endpoint))
    find_home().local_network.parent.mkdir(parents=True, exist_ok=True)
    find_home().local_network.write_text(f"{directory}\n")
    return directory


def account(endpoint: Endpoint, hotkey: PublicKey = VALIDATOR.public_key) -> Credentials:
    return Credentials.of_seed(
        b"s" * 32, validator_endpoint=endpoint, validator_hotkey=hotkey, network=NETWORK, netuid=1, local=True
    )


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, ["miner", "explain", *args], standalone_mode=False)


def page(*args: str) -> str:
    done = run(*args)
    assert done.exception is None, done.exception
    return done.stdout


@pytest.mark.usefixtures("network")
def test_a_miner_of_the_local_network_is_named_as_its_node(validator: Validator) -> None:
    text = page("miner3")
    assert validator.asked == [MINER.public_key.hex()]
    assert f"miner      {ss58_encode(MINER.public_key)} (live)\n" in text
    assert f"validator  {ss58_encode(VALIDATOR.public_key)}\n" in text
    assert "share      12.34 % of all weights, by epoch 7\n" in text
    assert "owed       an answer to 2 batches\n" in text


@pytest.mark.usefixtures("network")
def test_every_factor_is_shown_with_what_it_rests_on_and_what_to_do() -> None:
    lines = page("miner3").splitlines()
    for factor in REPORT.factors:
        value = "" if factor.value_ppm is None else "17.64 %" if factor.name == "proofs" else "100.00 %"
        place = lines.index(f"{factor.name:<8}{value:>9}  {factor.rests_on}")
        assert (factor.todo is not None) == lines[place + 1].strip().startswith("to do: ")
    assert any(line.strip().startswith("to do: Check the disk") for line in lines)


@pytest.mark.usefixtures("network")
def test_the_last_twelve_epochs_are_shown_newest_first() -> None:
    lines = page("miner3").splitlines()
    head = next(place for place, line in enumerate(lines) if line.split()[:1] == ["epoch"])
    assert lines[head].split() == ["epoch", "bytes", "leaves", "proofs", "uptime", "reads", "speed", "age", "weight"]
    assert [line.split()[0] for line in lines[head + 1 : head + 13]] == [str(epoch) for epoch in range(30, 18, -1)]
    assert lines[head + 13] == ""
    assert "243/256  17.64 %  100.00 %" in lines[head + 1]


@pytest.mark.usefixtures("network")
def test_failures_are_shown_with_their_pieces() -> None:
    text = page("miner3")
    assert "  epoch 7, batch 3, 2027-01-15 08:00 UTC: 13 of its leaves not shown\n    piece " + "31" * 32 in text
    assert "  epoch 5, batch 3, 2027-01-15 08:00 UTC: never answered\n" in text


@pytest.mark.usefixtures("network")
def test_bytes_are_shown_by_account() -> None:
    text = page("miner3")
    assert f"  {ss58_encode(PublicKey(bytes([1]) * 32))}     1.0 GiB\n" in text
    assert text.endswith("  and 2 more\n")


def test_a_miner_that_wants_to_leave_is_said_to_drain(network: Path, validator: Validator) -> None:
    assert "drains" not in page("miner3")
    validator.report = REPORT.model_copy(update={"drain_time": 1_799_999_000})
    (line,) = [line for line in page("miner3").splitlines() if line.startswith("drains")]
    assert line.endswith("it gets no new pieces, and others take over those it holds")


def test_any_validator_may_be_asked_about_any_hotkey(validator: Validator) -> None:
    for url in (f"http://{validator.endpoint}", f"{validator.endpoint}", f"http://{validator.endpoint}/"):
        assert "12.34 %" in page(ss58_encode(MINER.public_key), "--validator", url)


def test_without_a_url_the_validator_of_the_account_is_asked(validator: Validator) -> None:
    save_credentials(find_home().credentials, account(validator.endpoint))
    assert "12.34 %" in page(ss58_encode(MINER.public_key))


def test_a_node_name_is_asked_about_at_its_own_networks_validator(network: Path, validator: Validator) -> None:
    """Even where a login at another validator is there."""
    save_credentials(find_home().credentials, account(Endpoint("127.0.0.1", 1)))
    assert network.exists()
    assert "12.34 %" in page("miner3")
    assert validator.asked


@pytest.mark.usefixtures("network")
def test_json_is_the_report_as_it_was_sent() -> None:
    assert json.loads(page("miner3", "--json")) == json.loads(REPORT.encode())


@pytest.mark.usefixtures("network")
def test_a_miner_without_a_score_is_said_to_have_none(validator: Validator) -> None:
    validator.report = REPORT.model_copy(
        update={"score": None, "factors": (), "history": (), "failures": (), "accounts": (), "owed_batches": 0}
    )
    lines = page("miner3").splitlines()
    assert lines[-1] == "score      none yet: no epoch with this miner in it has ended"
    assert len(lines) == 3


@pytest.mark.usefixtures("network")
def test_a_time_beyond_the_calendar_is_shown_as_a_number(validator: Validator) -> None:
    validator.report = REPORT.model_copy(
        update={"failures": (FAILURE.model_copy(update={"time": 2**53 - 1}),), "accounts": ()}
    )
    assert f"time {2**53 - 1}: " in page("miner3")


@pytest.mark.usefixtures("network")
def test_no_miner_is_guessed() -> None:
    error = run().exception
    assert isinstance(error, UsageError)
    assert error.hint is not None
    assert "hippy miner explain miner3" in error.hint
    assert "hotkey" in error.hint


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("name", ["miner2", "validator1", "5" * 48, ""])
def test_a_name_that_is_no_miners_is_a_usage_error(name: str) -> None:
    assert isinstance(run(name).exception, UsageError)


def test_a_node_name_without_a_local_network_is_a_usage_error() -> None:
    error = run("miner3").exception
    assert isinstance(error, UsageError)
    assert "no local network is in use" in str(error)


def test_a_hotkey_without_any_validator_to_ask_is_a_matter_of_setting_up() -> None:
    assert isinstance(run(ss58_encode(MINER.public_key)).exception, ConfigError)


@pytest.mark.parametrize("url", ["https://127.0.0.1:80", "localhost:80", "127.0.0.1", "", "http://127.0.0.1:80/x"])
def test_a_url_that_is_none_is_a_usage_error(url: str) -> None:
    assert isinstance(run(ss58_encode(MINER.public_key), "--validator", url).exception, UsageError)


def test_a_validator_that_is_down_is_unreachable() -> None:
    error = run(ss58_encode(MINER.public_key), "--validator", "127.0.0.1:1").exception
    assert isinstance(error, UnreachableError)
    assert str(error) == "no validator answers at 127.0.0.1:1"


def test_another_validator_at_the_accounts_address_is_refused(validator: Validator) -> None:
    save_credentials(find_home().credentials, account(validator.endpoint, OTHER.public_key))
    assert isinstance(run(ss58_encode(MINER.public_key)).exception, AuthError)
    assert validator.asked == []


@pytest.mark.parametrize("field", ["hotkey", "validator"])
@pytest.mark.usefixtures("network")
def test_a_report_on_another_miner_or_in_anothers_name_is_refused(validator: Validator, field: str) -> None:
    validator.report = REPORT.model_copy(update={field: OTHER.public_key})
    assert isinstance(run("miner3").exception, ProtocolError)


@pytest.mark.usefixtures("network")
def test_what_the_validator_refuses_is_told() -> None:
    assert isinstance(run("miner1").exception, NotFoundError)
