"""A Bittensor chain in memory, behind the SDK's own seam: a verified stand-in for a subtensor node.

:class:`MemoryChain` is the chain: one subnet, its neurons, weights, epochs and drand pulses, moved on a block at a time
by the test. :class:`MemorySubstrate` is one connection to it (``bittensor.Substrate``, as far as hippy's use of the
SDK reaches); pass ``chain.substrate`` as ``make_substrate``. The SDK itself runs for real above it: its checks, its
choice between plain and timelocked weights, its encryption.

What it models of the runtime: registration on the smallest free uid, permits and stake as given, ServeAxon and its
refusals, plain weights with their checks, timelocked commits (accepted from anybody, kept, not revealed), rate
limits, epochs every ``tempo`` blocks whose incentives hippy.chain.yuma computes. Faults are ordered beforehand:
``faults`` holds what the next transactions meet.

Example::

    memory = MemoryChain(netuid=7)
    async with open_subtensor_chain(network, 7, signer=..., clock=..., make_substrate=memory.substrate) as chain:
        ...
        await memory.advance(10)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from hippy.chain.subtensor import ChainError, ExtrinsicResult, RpcConnectionError
from hippy.chain.yuma import consensus_incentive
from hippy.hashing import dk, keyed, u64
from hippy.identity import ss58_decode, ss58_encode
from hippy.ids import PublicKey

U16_MAX: Final = 65_535
FIRST_BLOCK: Final = 1_000
PULSES_PER_BLOCK: Final = 4
"""Blocks of 12 s, drand's rounds of 3."""

BURN_RAO: Final = 500_000_000
"""What registering costs: half a TAO."""

_SETTLE_TURNS: Final = 64


class Fault(Enum):
    """What happens to a transaction besides being carried out."""

    LOST = auto()
    """The connection breaks before the node has it."""

    DONE_BUT_UNTOLD = auto()
    """It is carried out, and the connection breaks before anybody hears of it."""

    REFUSED_WITHOUT_REASON = auto()
    """The node says no in words that nobody can classify."""

    DONE_BUT_RATE_LIMITED = auto()
    """It is carried out, and the node refuses to tell of it: too many questions."""

    USURPED = auto()
    """The pool says that another transaction took its place."""


@dataclass(slots=True)
class MemoryNeuron:
    """A neuron as the chain keeps it."""

    hotkey: PublicKey
    coldkey: PublicKey
    permit: bool
    stake_rao: int
    registered_block: int
    axon: dict[str, int] | None = None
    axon_block: int | None = None
    last_update: int = 0
    weights: dict[int, int] = field(default_factory=dict)
    incentive: float = 0.0


@dataclass(slots=True)
class MemoryChain:
    """One subnet on a chain of its own."""

    netuid: int = 7
    tempo: int = 5
    commit_reveal: bool = False
    weights_rate_limit: int = 0
    serving_rate_limit: int = 0
    stores_pulses: bool = True
    counts_epochs: bool = True
    """Whether the runtime has SubnetEpochIndex."""

    oldest_round: int = 0
    """Earlier pulses were deleted."""

    now_seconds: Callable[[], float] = lambda: 0.0
    """The time that the newest block tells."""

    reachable: bool = True
    block: int = FIRST_BLOCK
    faults: deque[Fault] = field(default_factory=deque)
    submitted: list[tuple[Any, str]] = field(default_factory=list)
    """Every call that reached the chain, with its signer's address."""

    connections: int = 0
    _neurons: dict[int, MemoryNeuron] = field(default_factory=dict)
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    def substrate(self) -> MemorySubstrate:
        """Return a new connection."""
        return MemorySubstrate(self)

    def register(self, hotkey: PublicKey, coldkey: PublicKey, *, permit: bool, stake_rao: int) -> int:
        """Register a neuron on the smallest free uid and return it; what the uid's last owner had is gone."""
        uid = next(each for each in range(len(self._neurons) + 1) if each not in self._neurons)
        self._neurons[uid] = MemoryNeuron(hotkey, coldkey, permit, stake_rao, self.block)
        for neuron in self._neurons.values():
            neuron.weights.pop(uid, None)
        return uid

    def deregister(self, hotkey: PublicKey) -> None:
        """Remove a neuron and make its uid free."""
        del self._neurons[self.uid_of(hotkey)]
        self.block += 1  # a uid changes hands in a later block

    def uid_of(self, hotkey: PublicKey) -> int:
        """Return the uid of a registered hotkey."""
        return next(uid for uid, neuron in self._neurons.items() if neuron.hotkey == hotkey)

    def neuron(self, uid: int) -> MemoryNeuron:
        """Return what the chain keeps of a uid."""
        return self._neurons[uid]

    async def advance(self, blocks: int) -> None:
        """Let blocks pass, one at a time, and let everybody who waits for them run."""
        for _ in range(blocks):
            async with self._moved:
                self.block += 1
                if self.epoch_at(self.block) != self.epoch_at(self.block - 1):
                    self._run_epoch()
                self._moved.notify_all()
            for _ in range(_SETTLE_TURNS):
                await asyncio.sleep(0)

    async def next_block(self, after: int) -> int:
        """Return a block's number once there is one after ``after``."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.block > after)
            return after + 1

    def epoch_at(self, block: int) -> int:
        """Return the number of the epoch that a block is in."""
        if self.counts_epochs:
            return block // self.tempo
        return (block + self.netuid + 1) // (self.tempo + 1)

    def call(self, module: str, function: str, params: dict[str, Any], signer: PublicKey) -> None:
        """Carry a call out. Raises ChainError with the runtime's name for what is wrong."""
        assert module == "SubtensorModule"
        caller = next((each for each in self._neurons.values() if each.hotkey == signer), None)
        match function:
            case "serve_axon":
                self._serve(_registered(caller), params)
            case "set_mechanism_weights" | "set_weights":
                self._set_weights(_registered(caller), params)
            case "commit_timelocked_mechanism_weights":
                _registered(caller).last_update = self.block
            case "burned_register":
                self.register(ss58_decode(params["hotkey"]), signer, permit=False, stake_rao=0)
            case _:
                raise AssertionError(f"hippy does not call {function}")

    def _serve(self, caller: MemoryNeuron, params: dict[str, Any]) -> None:
        address = (IPv4Address if params["ip_type"] == 4 else IPv6Address)(int(params["ip"]))
        if str(address) in ("127.0.0.1", "::1") or params["port"] == 0:
            raise ChainError("The IP address is not valid.", "InvalidIpAddress")
        if caller.axon_block is not None and self.block - caller.axon_block < self.serving_rate_limit:
            raise ChainError("Serving too often.", "ServingRateLimitExceeded")
        caller.axon = {"ip": int(params["ip"]), "port": params["port"], "ip_type": params["ip_type"]}
        caller.axon_block = self.block

    def _set_weights(self, caller: MemoryNeuron, params: dict[str, Any]) -> None:
        if self.commit_reveal:
            raise ChainError("Commit-reveal is on.", "CommitRevealEnabled")
        if not caller.permit:
            raise ChainError("No permit.", "NeuronNoValidatorPermit")
        if not all(uid in self._neurons for uid in params["dests"]):
            raise ChainError("A uid does not exist.", "UidVecContainInvalidOne")
        caller.weights = dict(zip(params["dests"], params["weights"], strict=True))
        caller.last_update = self.block

    def _run_epoch(self) -> None:
        rows = {
            uid: {to: float(each) for to, each in n.weights.items()} for uid, n in self._neurons.items() if n.permit
        }
        shares = consensus_incentive(rows, {uid: neuron.stake_rao for uid, neuron in self._neurons.items()})
        for uid, share in shares.items():
            self._neurons[uid].incentive = share

    def metagraph(self) -> dict[str, Any]:
        """Return what the runtime's ``get_metagraph`` answers, as far as the SDK reads it."""
        # Uids without a neuron do not exist on a chain; the last owner's row stays until the next comes.
        neurons = [self._neurons.get(uid) for uid in range(max(self._neurons, default=-1) + 1)]
        assert None not in neurons or len(self._neurons) < len(neurons)
        rows = [each if each is not None else _NOBODY for each in neurons]
        return {
            "netuid": self.netuid,
            "block": self.block,
            "tempo": self.tempo,
            "last_step": self.block - self.block % self.tempo,
            "blocks_since_last_step": self.block % self.tempo,
            "owner_hotkey": ss58_encode(b"\1" * 32),
            "owner_coldkey": ss58_encode(b"\1" * 32),
            "network_registered_at": 0,
            "hotkeys": [ss58_encode(each.hotkey) for each in rows],
            "coldkeys": [ss58_encode(each.coldkey) for each in rows],
            "validator_permit": [each.permit for each in rows],
            "axons": [each.axon for each in rows],
            "last_update": [each.last_update for each in rows],
            "block_at_registration": [each.registered_block for each in rows],
            "incentives": [round(each.incentive * U16_MAX) for each in rows],
            "total_stake": [each.stake_rao for each in rows],
        }

    def storage(self, item: str, params: list[Any]) -> Any:
        """Return a storage item's value; raises ValueError for one that the runtime does not have."""
        values: dict[str, Any] = {
            "CommitRevealWeightsEnabled": self.commit_reveal,
            "WeightsSetRateLimit": self.weights_rate_limit,
            "MinAllowedWeights": 1,
            "Burn": BURN_RAO if params == [self.netuid] else None,
            "NetworksAdded": params == [self.netuid],
            "MaxWeightsLimit": U16_MAX,
            "SubnetEpochConsensus": "Yuma",
            "Tempo": self.tempo,
            "RevealPeriodEpochs": 1,
            "LastEpochBlock": self.block - self.block % self.tempo,
            "PendingEpochAt": 0,
            "BlocksSinceLastStep": self.block % self.tempo,
            "OldestStoredRound": self.oldest_round,
            "Now": round(self.now_seconds() * 1000),
            "LastStoredRound": self.block * PULSES_PER_BLOCK if self.stores_pulses else 0,
        }
        if self.counts_epochs:
            values["SubnetEpochIndex"] = self.epoch_at(self.block)
        match item:
            case "Uids":
                hotkeys = {ss58_encode(neuron.hotkey): uid for uid, neuron in self._neurons.items()}
                return hotkeys.get(params[1])
            case "LastUpdate":
                return self.metagraph()["last_update"]
            case "Weights":
                return self._weights(*params)
            case "Pulses":
                return self._pulse(params[0])
        if item not in values:
            raise ValueError(f"storage function {item} not found")
        return values[item]

    def _weights(self, mechanism_index: int, uid: int) -> list[tuple[int, int]]:
        """Return a validator's revealed weights in the order it gave them; there is one mechanism, number 0."""
        if not 0 <= uid <= U16_MAX:
            raise ValueError(f"{uid} is no u16")
        neuron = self._neurons.get(uid) if mechanism_index == self.netuid else None
        return [] if neuron is None else list(neuron.weights.items())

    def _pulse(self, round_number: int) -> dict[str, Any] | None:
        if not self.stores_pulses or round_number > self.block * PULSES_PER_BLOCK or round_number % 7 == 0:
            return None  # the chain misses a round now and then
        if round_number < self.oldest_round:
            return None
        return {"round": round_number, "randomness": "0x" + keyed(dk("memory-pulse"), u64(round_number)).hex()}


_NOBODY: Final = MemoryNeuron(PublicKey(bytes(32)), PublicKey(bytes(32)), permit=False, stake_rao=0, registered_block=0)
"""Where a uid is free: a key that nobody can hold."""


def _registered(neuron: MemoryNeuron | None) -> MemoryNeuron:
    if neuron is None:
        raise ChainError("The hotkey is not registered.", "HotKeyNotRegisteredInSubNet")
    return neuron


class MemorySubstrate:
    """One connection to a MemoryChain: ``bittensor.Substrate``, as far as hippy uses it."""

    def __init__(self, chain: MemoryChain) -> None:
        self.token_symbols: dict[int, str] = {}
        self._chain = chain
        self._open = False

    async def connect(self) -> None:
        """Open the connection."""
        if not self._chain.reachable:
            raise RpcConnectionError("connection refused")
        self._chain.connections += 1
        self._open = True

    async def close(self) -> None:
        """Close it."""
        self._open = False

    async def block_hash(self, block: int | None = None) -> str:
        """Return 32 bytes that tell the block's number."""
        number = self._here().block if block is None else block
        return f"0x{keyed(dk('memory-block')).hex()[:48]}{number:016x}"

    async def block_number(self) -> int:
        """Return the newest block."""
        return self._here().block

    async def finalized_block_number(self) -> int:
        """Return the newest block: nothing is ever taken back here."""
        return self._here().block

    async def block_time(self) -> float:
        """Return a mainnet block's seconds."""
        self._here()
        return 12.0

    async def query(
        self, module: str, item: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> Any:
        """Read a storage item; what depends on the block is read as of ``block_hash``."""
        chain = self._here()
        if block_hash is not None and item == "SubnetEpochIndex" and chain.counts_epochs:
            return chain.epoch_at(int(block_hash[-16:], 16))
        return chain.storage(item, params or [])

    async def query_map(self, module: str, item: str, params: Any = None, block_hash: Any = None) -> list[Any]:
        """Return nothing: no map is needed."""
        self._here()
        return []

    async def runtime_call(self, api: str, method: str, params: list[Any], block_hash: str | None = None) -> Any:
        """Answer ``get_metagraph``."""
        assert method == "get_metagraph"
        return self._here().metagraph() if params == [self._chain.netuid] else None

    async def constant(self, module: str, name: str) -> None:
        """Know no constant."""
        self._here()

    async def compose(self, call: Any) -> Any:
        """Leave a call as it is."""
        self._here()
        return call

    async def estimate_fee(self, call: Any, keypair: Any) -> Any:
        """Estimate nothing; the SDK plans on without."""
        raise ChainError("no fee is known")

    async def blocks(self, *, finalized: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Yield headers as blocks come."""
        number = self._here().block
        while True:
            number = await self._chain.next_block(number)
            self._here()
            yield {"header": {"number": number, "parentHash": await self.block_hash(number - 1)}}

    async def submit(self, call: Any, keypair: Any, **_options: Any) -> ExtrinsicResult:
        """Carry a call out, or meet the fault that was ordered."""
        chain = self._here()
        fault = chain.faults.popleft() if chain.faults else None
        if fault is Fault.LOST:
            raise RpcConnectionError("connection reset")
        if fault is Fault.REFUSED_WITHOUT_REASON:
            return _failed(ChainError("something is the matter"))
        if fault is Fault.USURPED:
            return _failed(ChainError("extrinsic usurped", "Usurped"))
        module, function, params = call
        chain.submitted.append((call, keypair.ss58_address))
        try:
            chain.call(module, function, params, ss58_decode(keypair.ss58_address))
        except ChainError as error:
            return _failed(error, block_hash="0x00")
        if fault is Fault.DONE_BUT_UNTOLD:
            raise RpcConnectionError("connection reset")
        if fault is Fault.DONE_BUT_RATE_LIMITED:
            return _failed(ChainError("Rate limit exceeded"))
        return ExtrinsicResult(success=True, message="Success", block_hash="0x00")

    def _here(self) -> MemoryChain:
        if not (self._open and self._chain.reachable):
            raise RpcConnectionError("connection lost")
        return self._chain


def _failed(error: ChainError, block_hash: str | None = None) -> ExtrinsicResult:
    return ExtrinsicResult(success=False, message=error.message, error=error, block_hash=block_hash)
