"""The registry of a local network, also when several processes write it at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from hippy.chain.local_schema import Genesis, create_file
from hippy.chain.local_store import NEURONS_MAX, STAKE_RAO_MAX, LocalStore
from hippy.errors import ConfigError, ConflictError, NotFoundError, UsageError
from hippy.ids import ZERO_ID, NetworkId, PublicKey
from hippy.testing.chain_contract import key

PROCESSES, EACH = 4, 10

REGISTER_SOME = """
import sys
from pathlib import Path
from hippy.chain.local_store import LocalStore

store = LocalStore.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    key = (number + 1).to_bytes(32, "big")
    print(store.register(key, key, validator_permit=False, stake_rao=0, block=0))
    store.neurons()
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chain.sqlite"
    create_file(path, Genesis(NetworkId(b"n" * 32), b"s" * 32, 1, 0, 1_000_000, 20))
    return path


@pytest.fixture
def store(path: Path) -> Iterator[LocalStore]:
    with closing(LocalStore.open(path)) as store:
        yield store


def register(store: LocalStore, number: int, *, stake_rao: int = 0, permit: bool = False) -> int:
    return store.register(key(number), key(number), validator_permit=permit, stake_rao=stake_rao, block=3)


def test_uids_are_the_smallest_free_ones(store: LocalStore) -> None:
    assert [register(store, number) for number in range(4)] == [0, 1, 2, 3]
    store.deregister(key(1))
    store.deregister(key(3))
    assert [register(store, number) for number in (1, 5, 6)] == [1, 3, 4]


def test_registered_hotkey_cannot_register_again(store: LocalStore) -> None:
    register(store, 1)
    with pytest.raises(ConflictError, match="registered already"):
        register(store, 1)
    assert len(store.neurons()) == 1


def test_unknown_hotkey_cannot_be_deregistered(store: LocalStore) -> None:
    with pytest.raises(NotFoundError):
        store.deregister(key(1))


@pytest.mark.parametrize("bad", [b"", b"short", b"x" * 33, ZERO_ID])
def test_impossible_keys_are_refused(store: LocalStore, bad: bytes) -> None:
    for hotkey, coldkey in ((bad, key(1)), (key(1), bad)):
        with pytest.raises(UsageError):
            store.register(PublicKey(hotkey), PublicKey(coldkey), validator_permit=False, stake_rao=0, block=0)


@pytest.mark.parametrize("stake_rao", [-1, STAKE_RAO_MAX + 1])
def test_impossible_stakes_are_refused(store: LocalStore, stake_rao: int) -> None:
    with pytest.raises(UsageError, match="stake"):
        register(store, 1, stake_rao=stake_rao)


def test_largest_stake_is_kept_exactly(store: LocalStore) -> None:
    register(store, 1, stake_rao=STAKE_RAO_MAX)
    assert store.neurons()[0].stake_rao == STAKE_RAO_MAX


def test_full_subnet_refuses_the_next_neuron(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippy.chain.local_store.NEURONS_MAX", 3)
    with closing(LocalStore.open(path)) as store:
        for number in range(3):
            register(store, number)
        with pytest.raises(ConfigError, match="full"):
            register(store, 3)
    assert NEURONS_MAX == 256


def test_weights_of_a_lost_validator_are_gone_when_its_uid_is_reused(store: LocalStore) -> None:
    validator, miner = register(store, 0, stake_rao=1, permit=True), register(store, 1)
    store.set_weights(key(0), {miner: 1.0})
    assert store.neurons()[miner].incentive == 1.0
    store.deregister(key(0))
    assert register(store, 2, stake_rao=1, permit=True) == validator
    assert store.neurons()[miner].incentive == 0.0


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    with closing(LocalStore.open(path)) as store:
        register(store, 1)
        before = store.neurons()
    with closing(LocalStore.open(path)) as store:
        assert store.neurons() == before


@contextmanager
def registering(path: Path, first: int, end: int) -> Iterator[subprocess.Popen[str]]:
    """A process that opens the chain, waits for a line, and registers the keys ``first`` to ``end - 1``."""
    command = [sys.executable, "-c", REGISTER_SOME, str(path), str(first), str(end)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def test_processes_registering_at_once_share_out_the_uids(path: Path, store: LocalStore) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(registering(path, i * EACH, (i + 1) * EACH)) for i in range(PROCESSES)]
        for child in children:  # all have opened the file before the first one writes
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        outputs = [child.communicate(timeout=30)[0] for child in children]
    assert [child.returncode for child in children] == [0] * PROCESSES
    uids = [int(line) for output in outputs for line in output.split()]
    assert sorted(uids) == list(range(PROCESSES * EACH))
    registered = {neuron.uid: neuron.hotkey for neuron in store.neurons()}
    assert registered == {uid: key(number) for number, uid in enumerate(uids)}
