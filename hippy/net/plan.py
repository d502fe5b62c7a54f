"""What a local network consists of, and its directory.

``DIR/network.json`` names the nodes; ``DIR/chain.sqlite`` is their chain; ``DIR/nodes/NAME/`` holds a node's
settings, hotkey, data and log; ``DIR/client/`` an account with quota. :func:`create_plan` makes all of it,
once; a network that was stopped is started again from what is there.

Every node gets an address of its own, 127.0.1.1, 127.0.2.1, …, so that each lies in a /24 of its own as miners
of different operators do; where the system has only 127.0.0.1 (macOS) they share it on different ports.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.client.home import Credentials, network_credentials, save_credentials
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, UsageError
from hippy.identity import Identity, load_keyfile, save_keyfile
from hippy.ids import NetworkId

PLAN_FILE: Final = "network.json"
PLAN_VERSION: Final = 1
LOCK_FILE: Final = "supervisor.lock"
UP_LOG: Final = "up.log"
"""What a supervisor in the background prints; there before the network is."""

NODES_MAX: Final = 200
NETUID: Final = 1
BLOCK_SECONDS: Final = 1.0
TEMPO_BLOCKS: Final = 20
VALIDATOR_STAKE_RAO: Final = 1_000 * 10**9
MINER_CAPACITY_BYTES: Final = 50 * 1024**3
ACCOUNT_QUOTA_BYTES: Final = 10 * 1024**4
UNPAID_QUOTA_BYTES: Final = 10 * 1024**3
"""What `hippy login` gets on a local network."""

PROBE_SECONDS: Final = 1.0

Role = Literal["miner", "validator"]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: its name, where it listens, and its role."""

    name: str
    role: Role
    host: str
    port: int
    admin_port: int | None = None
    """Where it says how it is (hippy.transport.admin), on the same address; networks of older versions have none."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.host, self.port)


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """All nodes of the network in ``directory``, validators first."""

    directory: Path
    nodes: tuple[NodePlan, ...]

    def settings_file(self, node: NodePlan) -> Path:
        """The node's settings."""
        return self._home(node) / "settings.toml"

    def log_file(self, node: NodePlan) -> Path:
        """Where the node's output goes."""
        return self._home(node) / "log.txt"

    def hotkey_file(self, node: NodePlan) -> Path:
        """The node's hotkey."""
        return self._home(node) / "hotkey"

    def data_dir(self, node: NodePlan) -> Path:
        """The node's data."""
        return self._home(node) / "data"

    def node(self, name: str) -> NodePlan:
        """Return the node called ``name``.

        Raises UsageError naming those there are.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes)
        raise UsageError(f"no node is called {name!r}", hint=f"there are {names}")

    def of_role(self, role: Role) -> list[NodePlan]:
        """Return the nodes of one role."""
        return [node for node in self.nodes if node.role == role]

    def _home(self, node: NodePlan) -> Path:
        return self.directory / "nodes" / node.name


def load_plan(directory: Path) -> NetworkPlan | None:
    """Return the plan of the network in ``directory``, None where there is none.

    Raises ConfigError for one this version cannot read.
    """
    path = directory / PLAN_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != PLAN_VERSION:
            raise ConfigError(f"{path} was made by another version of hippy", hint=f"remove {directory}")
        return NetworkPlan(directory, tuple(NodePlan(**node) for node in stored["nodes"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is damaged", hint=f"remove {directory} to start anew") from None


async def create_plan(
    directory: Path,
    *,
    miners: int,
    validators: int,
    clock: Clock,
    block_seconds: float = BLOCK_SECONDS,
    tempo_blocks: int = TEMPO_BLOCKS,
) -> NetworkPlan:
    """Make the directory of a new network: chain, keys, registrations, settings and an account.

    An epoch takes ``block_seconds * tempo_blocks``.

    Raises UsageError for impossible numbers, ConfigError when the directory holds something else.
    """
    check_new(directory, miners=miners, validators=validators)
    _make_private(directory)
    try:
        return await _fill(NetworkPlan(directory, _lay_out(miners, validators)), clock, block_seconds, tempo_blocks)
    except BaseException:
        _clear(directory)  # half a network could neither be started nor made anew
        raise


async def _fill(plan: NetworkPlan, clock: Clock, block_seconds: float, tempo_blocks: int) -> NetworkPlan:
    network = NetworkId(secrets.token_bytes(32))
    LocalChain.create(
        plan.directory / CHAIN_FILE,
        clock=clock,
        network=network,
        genesis_secret=secrets.token_bytes(32),
        netuid=NETUID,
        block_seconds=block_seconds,
        tempo_blocks=tempo_blocks,
    )
    await _register(plan, clock)
    seed = os.urandom(32)
    _write_settings(plan, Identity.from_seed(seed))
    _write_account(plan, seed, network)
    _write_plan(plan)  # last: a plan file means the directory is complete
    return plan


def check_new(directory: Path, *, miners: int, validators: int) -> None:
    """Look, without touching anything, whether a network of so many nodes can be made in ``directory``.

    Raises UsageError for impossible numbers, ConfigError when the directory holds something else.
    """
    if miners < 1 or validators < 1 or miners + validators > NODES_MAX:
        raise UsageError(f"a local network has at least 1 miner and 1 validator, at most {NODES_MAX} nodes")
    if directory.exists() and any(_contents(directory)):
        raise ConfigError(f"{directory} is not empty and holds no network", hint="choose another --dir")


def _make_private(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _contents(directory: Path) -> list[Path]:
    """Return what is in a directory besides that which a supervisor puts there before the network."""
    return [item for item in directory.iterdir() if item.name not in {UP_LOG, LOCK_FILE}]


def _clear(directory: Path) -> None:
    for item in _contents(directory):
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()


def _lay_out(miners: int, validators: int) -> tuple[NodePlan, ...]:
    names: list[tuple[str, Role]] = [(f"validator{i + 1}", "validator") for i in range(validators)]
    names += [(f"miner{i + 1}", "miner") for i in range(miners)]
    held: list[socket.socket] = []  # all ports are held until every one is chosen
    try:
        nodes = []
        for number, (name, role) in enumerate(names, start=1):
            host, port = _free_port(f"127.0.{number}.1", held)
            _, admin_port = _free_port(host, held)
            nodes.append(NodePlan(name, role, host, port, admin_port))
        return tuple(nodes)
    finally:
        for sock in held:
            sock.close()


def _free_port(host: str, held: list[socket.socket]) -> tuple[str, int]:
    for candidate in (host, "127.0.0.1"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.append(sock)
        try:
            sock.bind((candidate, 0))
        except OSError:
            continue
        return candidate, int(sock.getsockname()[1])
    raise ConfigError("no loopback address can be bound")


async def _register(plan: NetworkPlan, clock: Clock) -> None:
    """Make every node's keys and register them."""
    async with open_local_chain(plan.directory / CHAIN_FILE, hotkey=None, clock=clock) as chain:
        for node in plan.nodes:
            hotkey, coldkey = Identity.generate(), Identity.generate()
            save_keyfile(hotkey, plan.hotkey_file(node))
            is_validator = node.role == "validator"
            await chain.register(
                hotkey.public_key,
                coldkey.public_key,
                validator_permit=is_validator,
                stake_rao=VALIDATOR_STAKE_RAO if is_validator else 0,
            )


def _write_settings(plan: NetworkPlan, account: Identity) -> None:
    for node in plan.nodes:
        lines = [
            f"netuid = {NETUID}",
            f"network = {_quoted(f'local:{plan.directory}')}",
            f"host = {_quoted(node.host)}",
            f"port = {node.port}",
            f"hotkey_file = {_quoted(str(plan.hotkey_file(node)))}",
            f"data_dir = {_quoted(str(plan.data_dir(node)))}",
            f"admin_host = {_quoted(node.host)}",
            f"admin_port = {node.admin_port}",
        ]
        if node.role == "miner":
            lines.append(f"capacity_bytes = {MINER_CAPACITY_BYTES}")
        else:
            lines.append(f"probe_seconds = {PROBE_SECONDS}")
            lines.append(f"unpaid_quota_bytes = {UNPAID_QUOTA_BYTES}")
            if node is plan.of_role("validator")[0]:  # the account's home; the others follow it
                lines.append(
                    f"accounts = [{{ account = {_quoted(account.ss58)}, "
                    f'pay_class = "paid", quota_bytes = {ACCOUNT_QUOTA_BYTES} }}]'
                )
        plan.settings_file(node).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(text)


def _write_account(plan: NetworkPlan, seed: bytes, network: NetworkId) -> None:
    home = plan.of_role("validator")[0]
    credentials = Credentials.of_seed(
        seed,
        validator_endpoint=home.endpoint,
        validator_hotkey=load_keyfile(plan.hotkey_file(home)).public_key,
        network=network,
        netuid=NETUID,
        local=True,
    )
    save_credentials(network_credentials(plan.directory), credentials)


def _write_plan(plan: NetworkPlan) -> None:
    stored = {"version": PLAN_VERSION, "nodes": [asdict(node) for node in plan.nodes]}
    path = plan.directory / PLAN_FILE
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
