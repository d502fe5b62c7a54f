"""Real processes under audit: what is deleted is found, who serves nobody earns nothing, a false auditor is named."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from hippy.identity import load_keyfile
from tests.e2e.conftest import running
from tests.e2e.local import Shell
from tests.e2e.misbehaving import Kind
from tests.e2e.processes import wait_until

pytestmark = pytest.mark.e2e

EPOCH_SECONDS: Final = 2.5
FILES: Final = 20
FILE_BYTES: Final = 1_100_000
"""Just above what is packed: every file is a segment, and every miner has a piece of each."""

MINERS: Final = 4
EPOCHS_GROUND: Final = 4
PAUSE: Final = 0.25
"""Seconds between looks at the validator: epochs are long."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A network of four miners with 20 segments, a piece of each on every miner; tests use miners of their own."""
    source = tmp_path_factory.mktemp("source")
    for number in range(FILES):
        (source / str(number)).write_bytes(number.to_bytes(4, "little") * (FILE_BYTES // 4))
    with running(tmp_path_factory.mktemp("home"), MINERS, epoch_seconds=EPOCH_SECONDS) as shell:
        shell.run("put", "-r", "--ec", "2/4", source, "hippy://b/d/")
        wait_until(lambda: _is_scored(shell, "miner4"), seconds=60, what="a first score", pause=PAUSE)
        yield shell


def test_an_honest_validator_is_verified(shell: Shell) -> None:
    told = shell.run("validator", "verify-weights", "--epochs", "1").stdout.decode()
    assert "MATCH" in told


def test_deleting_a_twentieth_of_the_pieces_is_found_within_two_epochs_and_explained(shell: Shell) -> None:
    pieces = _pieces(shell, "miner1")
    assert len(pieces) == FILES
    deleted, under_way = pieces[: FILES // 20], _newest_epoch(shell)
    for piece in deleted:
        piece.unlink()
    wait_until(lambda: bool(_report(shell, "miner1")["failures"]), seconds=60, what="a failed batch", pause=PAUSE)
    failure = _explain(shell, "miner1")["failures"][-1]
    assert failure["epoch"] <= under_way + 2
    assert failure["kind"] == "wrong"
    assert set(failure["roots"]) <= {piece.name for piece in deleted}

    counted_by = failure["epoch"] + 2  # a batch is settled in its own epoch or, asked again, in a later one
    wait_until(lambda: _newest_epoch(shell) > counted_by, seconds=60, what="the sheets of these epochs", pause=PAUSE)
    sheets = [_sheet(shell, epoch) for epoch in range(failure["epoch"], counted_by + 1)]
    assert max(sheet["miner1"]["leaves_bad"] for sheet in sheets) > 0
    # One bad leaf of the 513 that p_fast remembers at most: Q = (20 · 512/513 - 19)² = 0.92 (PROTOCOL §6). How many
    # leaves the first batch draws of the two pieces is chance: after it they are lost, and asked for no more.
    assert min(sheet["miner1"]["proof_ppm"] for sheet in sheets) < 930_000
    newest = _explain(shell, "miner1")["failures"][0]  # the page shows the newest few: the first may be gone by now
    told = shell.run("miner", "explain", "miner1").stdout.decode()
    assert f"epoch {newest['epoch']:,}, batch {newest['batch']}" in told
    assert all(root in told for root in newest["roots"])


def test_a_miner_that_answers_audits_but_no_reads_earns_nothing(shell: Shell) -> None:
    with _misbehaving(shell, "miner2", "refuses-reads"):
        wait_until(lambda: _factor(shell, "miner2", "reads") == 0, seconds=90, what="R = 0", pause=PAUSE)
        assert _share(shell, "miner2") == 0
        assert _share(shell, "miner4") > 0
        assert _explain(shell, "miner2")["score"]["leaves_bad"] == 0


@pytest.mark.parametrize(
    ("kind", "named"),
    [("changes-its-seed", "secret"), ("skips-batches", "batch 3"), ("invents-verdicts", "verdict")],
)
def test_a_grinding_validator_is_named(shell: Shell, kind: Kind, named: str) -> None:
    with ExitStack() as cheating:
        if kind == "invents-verdicts":  # there has to be something to gloss over
            cheating.enter_context(_misbehaving(shell, "miner3", "keeps-quiet"))
            for piece in _pieces(shell, "miner3"):
                piece.unlink()
        cheating.enter_context(_misbehaving(shell, "validator1", kind))
        wait_until(lambda: _newest_epoch(shell) > 0, seconds=30, what="the validator's return", pause=PAUSE)
        start = _newest_epoch(shell)
        ground = start + EPOCHS_GROUND
        wait_until(lambda: _newest_epoch(shell) >= ground, seconds=60, what="epochs that it closed", pause=PAUSE)
        told = shell.run("validator", "verify-weights", "--epochs", "2", code=6)
        assert named in (told.stdout + told.stderr).decode().lower()


@contextmanager
def _misbehaving(shell: Shell, name: str, kind: Kind) -> Iterator[None]:
    """Put a node that cheats in an honest one's place."""
    shell.run("net", "kill", name)
    node = shell.node_dir(name)
    role = name.rstrip("0123456789")
    command = [sys.executable, "-m", "tests.e2e.misbehaving", kind, role, "run"]
    command += ["--config", str(node / "settings.toml"), "--with-parent"]
    with (node / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=shell.environment())
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)
        shell.run("net", "start", name)


def _pieces(shell: Shell, name: str) -> list[Path]:
    return sorted(path for path in (shell.node_dir(name) / "data" / "pieces").glob("??/*") if not path.suffix)


def _explain(shell: Shell, name: str) -> dict[str, Any]:
    """Return what the command says of a miner."""
    report: dict[str, Any] = shell.json("miner", "explain", name)
    return report


def _report(shell: Shell, name: str) -> dict[str, Any]:
    """Return the same as the validator publishes it: at once, where a command would first have to be started."""
    hotkey = load_keyfile(shell.node_dir(name) / "hotkey").public_key
    report: dict[str, Any] = json.loads(_published(shell, f"/v1/miners/{hotkey.hex()}"))
    return report


def _is_scored(shell: Shell, name: str) -> bool:
    score = _report(shell, name).get("score")
    return score is not None and score["leaves_ok"] > 0


def _share(shell: Shell, name: str) -> int:
    return int(_report(shell, name)["share_ppm"])


def _factor(shell: Shell, name: str, factor: str) -> int:
    factors = {each["name"]: each for each in _report(shell, name)["factors"]}
    return int(factors[factor]["value_ppm"])


def _sheet(shell: Shell, epoch: int) -> dict[str, dict[str, Any]]:
    """Return the scores of an epoch that has ended, by the miners' names."""
    names = {_report(shell, f"miner{number}")["hotkey"]: f"miner{number}" for number in range(1, MINERS + 1)}
    sheet = json.loads(_published(shell, f"/v1/epochs/{epoch}/sheet"))
    return {names[score["hotkey"]]: score for score in sheet["miners"]}


def _newest_epoch(shell: Shell) -> int:
    try:
        return int(json.loads(_published(shell, "/v1/epochs"))["last"])
    except urllib.error.URLError:
        return 0  # it is just starting


def _published(shell: Shell, target: str) -> bytes:
    settings = tomllib.loads((shell.node_dir("validator1") / "settings.toml").read_text())
    with urllib.request.urlopen(f"http://{settings['host']}:{settings['port']}{target}", timeout=5) as answer:
        told: bytes = answer.read()
    return told
