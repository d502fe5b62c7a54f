"""``hippy miner drain`` against a miner's real admin port, store and chain on a loopback address."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from hippy.chain.local import LocalChain, open_local_chain
from hippy.cli import drain as command
from hippy.cli.commands import hippy
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, TemporaryError, UnreachableError, UsageError
from hippy.identity import save_keyfile, ss58_encode
from hippy.miner import draining
from hippy.miner.background import background
from hippy.miner.drain_routes import drain_routes
from hippy.miner.draining import Draining
from hippy.miner.figures import Figures
from hippy.miner.issuers import Issuers
from hippy.miner.metrics import attached
from hippy.miner.settings import MinerSettings
from hippy.miner.store import open_store
from hippy.net.plan import PLAN_FILE, PLAN_VERSION, NetworkPlan, NodePlan
from hippy.proofs.tree import leaf_hashes
from hippy.testing.clock import VirtualClock
from hippy.transport.admin import AdminPlace, admin_serving
from hippy.transport.admin_token import admin_token
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, message_response, serving
from hippy.wire.repair import DrainAnswer
from tests.miner.world import MINER, NETUID, NETWORK, VALIDATOR, identity, obligation, piece, ticket

EPOCH_SECONDS = 20.0
DATA = piece("a", 50)


class Node:
    """A miner that owes one piece, and its validator, in a thread of their own: commands bring their event loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.left = [DrainAnswer(pieces=0, bytes=0)]
        """What the validator says, and what it will say once that was shown (:func:`showing_each`)."""

        self.is_away = False
        self.admin = Endpoint("127.0.0.1", 1)
        self.stop: Callable[[], object] = lambda: None
        """Take the wish back, as another command would."""

    async def answer(self, _: web.Request) -> web.StreamResponse:
        if self.is_away:
            raise TemporaryError("come back later")
        return message_response(self.left[0])

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        clock, path = SystemClock(), self.folder / "chain.sqlite"
        LocalChain.create(path, clock=clock, network=NETWORK, genesis_secret=b"g" * 32, netuid=NETUID)
        desk = HelloDesk(VALIDATOR, "validator", NETWORK, NETUID, clock)
        app = build_app([desk.route(), Route("POST", "/v1/drain", self.answer)])
        async with (
            open_local_chain(path, hotkey=VALIDATOR.public_key, clock=clock) as chain,
            open_store(self.data_dir, capacity_bytes=2**30, disk_reserve_bytes=0) as store,
            open_http(MINER, clock) as http,
            serving(app, "127.0.0.1", 0) as endpoint,
            admin_serving(AdminPlace("127.0.0.1", 0, self.data_dir), clock) as admin,
        ):
            await chain.register(VALIDATOR.public_key, identity("owner").public_key, validator_permit=True, stake_rao=9)
            await chain.publish_endpoint(endpoint)
            await store.add(obligation(ticket(DATA, VirtualClock())), DATA, leaf_hashes(DATA))
            leaving = Draining(store, Issuers(chain, http, clock), http, MINER, clock, NETWORK, EPOCH_SECONDS)
            admin.attach(attached(self.data_dir, Figures(1), drain_routes(leaving)))
            assert admin.endpoint is not None
            self.admin = admin.endpoint
            loop = asyncio.get_running_loop()
            self.stop = lambda: asyncio.run_coroutine_threadsafe(leaving.wish("stop"), loop)
            async with background(leaving.run()):
                ready.set()
                await over.wait()

    def config(self, *, admin_port: int | None) -> Path:
        """Write the miner's settings."""
        if not (self.folder / "hotkey").exists():
            save_keyfile(MINER, self.folder / "hotkey")
        lines = [
            'network = "local:net"',
            f'hotkey_file = "{self.folder / "hotkey"}"',
            f'data_dir = "{self.data_dir}"',
            "capacity_bytes = 1000000",
            *([] if admin_port is None else [f"admin_port = {admin_port}"]),
        ]
        path = self.folder / "settings.toml"
        path.write_text("\n".join(lines))
        return path

    def run(self, *args: str) -> Result:
        """Run the command with the miner's settings."""
        config = self.config(admin_port=self.admin.port)
        return CliRunner().invoke(hippy, ["miner", "drain", "--config", str(config), *args])


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MinerSettings.model_fields:
        monkeypatch.delenv(f"HIPPY_{name.upper()}", raising=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a second take some milliseconds."""
    monkeypatch.setattr(command, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(command, "PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(draining, "scaled", lambda seconds, epoch_seconds: seconds / 1_000)


@pytest.fixture
def node(tmp_path: Path, quick: None) -> Iterator[Node]:
    told, ready = Node(tmp_path), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(told.serve(ready, over)))
    thread.start()
    try:
        assert ready.wait(30)
        yield told
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()


@pytest.fixture
def showing_each(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator goes on to its next answer when the command has shown the one before."""
    honest = command._Display.show

    def show(self: command._Display, state: dict[str, Any]) -> None:
        honest(self, state)
        told = [each["pieces"] for each in state["validators"]]
        if told == [node.left[0].pieces] and len(node.left) > 1:
            node.left.pop(0)

    monkeypatch.setattr(command._Display, "show", show)


def some(pieces: int) -> DrainAnswer:
    return DrainAnswer(pieces=pieces, bytes=pieces * 1024)


def test_the_command_waits_until_nothing_is_left(node: Node, showing_each: None) -> None:
    node.left = [some(3), some(1), some(0)]
    result = node.run()
    assert result.exit_code == 0
    assert result.stdout == "nothing left, stop the miner when you like\n"
    assert "3 pieces (3.0 KiB) left at 1 validator" in result.stderr
    assert "1 piece (1.0 KiB) left" in result.stderr


def test_without_waiting_the_command_says_how_it_stands_and_later_how_far_it_is(node: Node) -> None:
    node.left = [some(3)]
    result = node.run("--no-wait")
    assert result.exit_code == 0
    assert result.stdout.startswith("the miner is leaving: ")
    states = (json.loads(node.run("--no-wait", "--json").stdout) for _ in range(10_000))
    state = next(each for each in states if each["validators"] and each["validators"][0]["pieces"] is not None)
    assert state["draining"]
    assert state["complete"]
    assert not state["done"]
    (validator,) = state["validators"]
    assert validator["validator"] == ss58_encode(VALIDATOR.public_key)
    assert (validator["pieces"], validator["bytes"]) == (3, 3072)
    assert (validator["owed_pieces"], validator["owed_bytes"]) == (1, 50)
    assert validator["error"] is None


def test_the_result_is_json_where_it_is_asked_for(node: Node, showing_each: None) -> None:
    node.left = [some(2), some(0)]
    result = node.run("--json")
    assert result.stderr == ""
    assert json.loads(result.stdout)["done"]


def test_a_validator_that_does_not_answer_is_named_with_what_it_is_owed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.is_away = True
    shown: list[str] = []
    honest = command._Display.show

    def show(self: command._Display, state: dict[str, Any]) -> None:
        honest(self, state)
        shown.append(command._line(state))
        if "does not answer" in shown[-1]:
            node.is_away = False

    monkeypatch.setattr(command._Display, "show", show)
    result = node.run()
    assert result.exit_code == 0
    told = next(line for line in shown if "does not answer" in line)
    assert told.startswith("0 pieces (0 B) left at 0 validators; ")
    assert (
        f"{ss58_encode(VALIDATOR.public_key)}, which is owed 1 piece (50 B), does not answer: come back later" in told
    )


def test_stop_has_the_miner_stay(node: Node) -> None:
    node.left = [some(3)]
    assert json.loads(node.run("--no-wait", "--json").stdout)["draining"]
    result = node.run("--stop")
    assert (result.exit_code, result.stdout.split(",")[0]) == (0, "the miner stays")
    assert not json.loads(node.run("--stop", "--json").stdout)["draining"]


def test_a_drain_that_is_taken_back_elsewhere_ends_the_waiting(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.left = [some(3)]
    honest = command._Display.show

    def show(self: command._Display, state: dict[str, Any]) -> None:
        honest(self, state)
        node.stop()

    monkeypatch.setattr(command._Display, "show", show)
    result = node.run()
    assert result.exit_code == 0
    assert "the drain was stopped meanwhile" in result.stdout


def test_an_interrupted_command_leaves_the_drain_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.left = [some(3)]

    def show(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command._Display, "show", show)
    result = node.run()
    assert result.exit_code != 0
    assert "the drain goes on; hippy miner drain --stop ends it" in result.stderr
    assert json.loads(node.run("--no-wait", "--json").stdout)["draining"]


def test_a_miner_that_does_not_run_is_said_not_to(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.data_dir.mkdir()
    admin_token(node.data_dir)
    error = node.run().exception
    assert isinstance(error, UnreachableError)
    assert "the miner does not run" in error.message
    assert "start it" in (error.hint or "")


def test_a_miner_that_stops_while_it_is_waited_for_is_said_to(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.left = [some(3)]

    async def gone(*_: object, **__: object) -> object:
        raise UnreachableError("nothing answers")

    def show(*_: object) -> None:
        monkeypatch.setattr("hippy.transport.admin_client.ask", gone)

    monkeypatch.setattr(command._Display, "show", show)
    error = node.run().exception
    assert isinstance(error, UnreachableError)
    assert "the drain goes on when the miner runs" in (error.hint or "")


def test_settings_without_an_admin_port_say_what_to_add(tmp_path: Path) -> None:
    config = Node(tmp_path).config(admin_port=None)
    error = CliRunner().invoke(hippy, ["miner", "drain", "--config", str(config)]).exception
    assert isinstance(error, ConfigError)
    assert "admin_port = 4101" in (error.hint or "")


@pytest.mark.parametrize("args", [[], ["miner3", "--config", "x.toml"], ["miner3"]])
def test_no_miner_two_or_one_of_no_network_is_a_mistake(args: list[str]) -> None:
    error = CliRunner().invoke(hippy, ["miner", "drain", *args]).exception
    assert isinstance(error, UsageError)
    assert "hippy miner drain" in (error.hint or "")


def test_a_miner_of_the_local_network_in_use_is_named_by_its_name(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tmp_path / "network"
    nodes = (NodePlan("validator1", "validator", "127.0.1.1", 1, 2), NodePlan("miner1", "miner", "127.0.2.1", 3, 4))
    plan = NetworkPlan(network, nodes)
    settings = plan.settings_file(nodes[1])
    settings.parent.mkdir(parents=True)
    settings.write_text(node.config(admin_port=node.admin.port).read_text())
    stored = {"version": PLAN_VERSION, "nodes": [asdict(each) for each in nodes]}
    (network / PLAN_FILE).write_text(json.dumps(stored))
    monkeypatch.setenv("HIPPY_NET", str(network))
    result = CliRunner().invoke(hippy, ["miner", "drain", "miner1"])
    assert result.stdout.startswith("nothing left")
    error = CliRunner().invoke(hippy, ["miner", "drain", "validator1"]).exception
    assert isinstance(error, UsageError)
    assert "is a validator" in error.message
