"""What survives, and what is said when something does not."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hippy.clock import SystemClock
from hippy.net.plan import create_plan
from tests.e2e.conftest import running
from tests.e2e.local import Shell, same_tree, write_tree
from tests.e2e.processes import are_running, wait_until

pytestmark = pytest.mark.e2e

MARKER = b"PLANTED-MARKER-7f3a"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of eight miners to break."""
    with running(tmp_path_factory.mktemp("home"), 8) as shell:
        yield shell


@pytest.fixture
def shell(started: Shell) -> Shell:
    """The network of eight miners, all of them up again."""
    started.make_whole()
    return started


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of two miners to end."""
    with running(tmp_path_factory.mktemp("home"), 2) as shell:
        yield shell


@pytest.fixture
def ending(small: Shell) -> Shell:
    """The network of two miners, up again."""
    small.make_whole()
    return small


def test_files_survive_the_death_of_n_minus_k_miners_and_a_restart(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_tree(source)
    shell.run("put", "-r", source, "hippy://b/d/")
    shell.run("net", "kill", "miner1", "miner3", "miner5", "miner7")
    shell.run("get", "-r", "hippy://b/d/", tmp_path / "degraded")
    assert same_tree(source, tmp_path / "degraded")

    shell.run("net", "kill", "miner2")
    failed = shell.run("get", "-r", "hippy://b/d/", tmp_path / "lost", code=5)
    assert re.search(rb"only 3 of the k=4 pieces", failed.stderr)
    single = shell.run("get", "hippy://b/d/two segments.bin", tmp_path / "lost.bin", code=5)
    assert re.search(rb"1 missing", single.stderr)
    assert not (tmp_path / "lost.bin").exists()

    shell.run("net", "start", "miner1", "miner2", "miner3", "miner5", "miner7")
    shell.run("net", "kill", "validator1")
    shell.run("net", "start", "validator1")
    shell.run("net", "kill", "miner4", "miner6", "miner8")
    shell.run("get", "-r", "hippy://b/d/", tmp_path / "restarted")
    assert same_tree(source, tmp_path / "restarted")


def test_a_corrupted_piece_is_noticed_and_replaced(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3_000_000))
    shell.run("put", file, "hippy://b/file")
    for number in (1, 2, 3, 4):
        pieces = _pieces(shell, f"miner{number}")
        assert pieces
        for piece in pieces:
            content = bytearray(piece.read_bytes())
            content[len(content) // 2] ^= 1
            piece.write_bytes(content)
    shell.run("get", "hippy://b/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_no_node_holds_plaintext_or_names(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "secret-file-name.txt").write_bytes(MARKER * 3)
    (source / "secret-file-name.bin").write_bytes(MARKER * 100_000)
    shell.run("put", "-r", source, "hippy://secret-bucket/secret-file-name-dir/")
    shell.run("cat", "hippy://secret-bucket/secret-file-name-dir/secret-file-name.txt")
    shell.run("net", "kill", "miner1")
    shell.run("net", "down")
    nodes = shell.home / "state" / "net"
    secrets = [MARKER, b"secret-file-name", b"secret-bucket"]
    for needle in secrets:
        assert _holders(nodes, needle) == []
    # The search finds what is there: a planted marker, in a file and in a store.
    planted = nodes / "nodes" / "miner2" / "data" / "planted"
    planted.write_bytes(b"x" * 999 + MARKER)
    assert _holders(nodes, MARKER) == [str(planted)]
    planted.unlink()


def test_children_end_within_five_seconds_of_their_parents_death(ending: Shell) -> None:
    status = ending.json("net", "status")
    pids = [node["pid"] for node in status["nodes"]]
    assert len(pids) == 3
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: not are_running(pids), seconds=5, what="the end of the children")
    ending.run("net", "up", "-d")
    assert {node["state"] for node in ending.json("net", "status")["nodes"]} == {"running"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_whole_network(ending: Shell, number: signal.Signals) -> None:
    status = ending.json("net", "status")
    pids = [status["supervisor_pid"], *(node["pid"] for node in status["nodes"])]
    os.kill(status["supervisor_pid"], number)
    wait_until(lambda: not are_running(pids), seconds=10, what="the end of all processes")
    ending.run("net", "status", code=11)


def test_a_network_that_runs_becomes_the_one_in_use(tmp_path: Path) -> None:
    shell, elsewhere = Shell(tmp_path / "home"), tmp_path / "elsewhere"
    pointer = shell.home / "state" / "local-network"
    up = shell.json("net", "up", "-d", "--miners", "1", "--dir", elsewhere)
    assert (up["directory"], up["miners"], up["validators"]) == (str(elsewhere), 1, 1)
    pointer.unlink()
    again = shell.run("net", "up", "-d", "--dir", elsewhere)
    assert b"is up already" in again.stderr
    assert pointer.read_text() == f"{elsewhere}\n"
    killed = shell.json("net", "kill", "validator1")
    assert killed == {"directory": str(elsewhere), "killed": ["validator1"]}
    assert b"hint: is a node down? hippy net status" in shell.run("ls", code=5).stderr
    assert shell.json("net", "down") == {"directory": str(elsewhere), "state": "down"}
    assert not pointer.exists()


def test_the_reason_of_a_failed_start_is_told_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    asyncio.run(create_plan(shell.net_dir, miners=1, validators=1, clock=SystemClock()))
    (shell.node_dir("miner1") / "hotkey").write_text("no key")
    failed = shell.run("net", "up", "-d", code=5).stderr.decode()
    assert failed.count("error: ") == 1
    assert "miner1 ended by itself: " in failed


def _pieces(shell: Shell, miner: str) -> list[Path]:
    files = (shell.node_dir(miner) / "data" / "pieces").rglob("*")
    return [path for path in files if path.is_file() and path.suffix == ""]


def _holders(root: Path, needle: bytes) -> list[str]:
    """Return the files, and the keys and values read through the stores, that hold ``needle`` or its hex."""
    forms = (needle, needle.hex().encode())
    found = [str(p) for p in root.rglob("*") if p.is_file() and any(form in p.read_bytes() for form in forms)]
    for store in _stores(root):
        rows = _rows(store)
        assert rows, f"{store} is empty: the search would prove nothing"
        found += [f"{store}: {key!r}" for key, value in rows if any(form in key + b"\n" + value for form in forms)]
    return found


def _stores(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob("CURRENT"))


def _rows(store: Path) -> list[tuple[bytes, bytes]]:
    from rocksdict import Options, Rdict

    rows = Rdict(str(store), Options(raw_mode=True))
    try:
        return [(bytes(key), bytes(value)) for key, value in rows.items()]  # type: ignore[arg-type]
    finally:
        rows.close()
