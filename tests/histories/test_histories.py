"""Thousands of short lives of a network: whatever fails meanwhile, what was acknowledged is there in the end.

``make test`` plays sixty, ``make soak`` ten thousand. A history that breaks a promise prints what happened in
it and the command that plays it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from hippy.points import POINTS
from tests.histories.faults import CRASH_POINTS, NOT_PLAYED
from tests.histories.history import play
from tests.histories.mutations import MUTATIONS
from tests.histories.world import Violation

ROOT: Final = Path(__file__).parent.parent.parent
FEW: Final = 60
"""Half of them reach every point; how many were played is no proof, ten thousand are in the soak."""
MANY: Final = 10_000
PORTION: Final = 250
MUTATED_MAX: Final = 60
"""Histories within which a rule that is broken on purpose has to be noticed."""

QUICKLY_CAUGHT: Final = ("success_before_rows", "no_data_sync", "no_refund_at_close", "no_releases")
"""Within a few histories; the others need a power cut at the right moment."""


def played(seeds: Sequence[int]) -> tuple[list[str], set[str]]:
    """Play histories; return what was wrong with each that was, and the points at which something was."""
    wrong, reached = list[str](), set[str]()
    for seed in seeds:
        try:
            reached |= set(play(seed).visits)
        except Violation as violation:
            wrong.append(f"seed {seed}: {violation}\nplay it again: python -m tests.histories.run {seed}")
    return wrong, reached


@pytest.mark.timeout(600)
def test_sixty_histories_break_no_promise() -> None:
    wrong, reached = played(range(FEW))
    assert not wrong, "\n\n".join(wrong)
    assert set(CRASH_POINTS) <= reached


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_ten_thousand_histories_break_no_promise() -> None:
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for a process, which starts where `tests` is
        wrong = []
        for code, told in threads.map(_played_in_a_process, range(0, MANY, PORTION)):
            print(told, end="", flush=True)
            wrong += [told] if code else []
    assert not wrong, "\n\n".join(wrong)


def _played_in_a_process(first: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.histories.run", str(first), str(PORTION)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3_600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", QUICKLY_CAUGHT)
def test_a_rule_that_is_broken_is_noticed(name: str) -> None:
    assert _is_noticed(name), f"{MUTATED_MAX} histories went well with {name}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in MUTATIONS if name not in QUICKLY_CAUGHT])
def test_any_rule_that_is_broken_is_noticed(name: str) -> None:
    assert _is_noticed(name), f"{MUTATED_MAX} histories went well with {name}"


def _is_noticed(name: str) -> bool:
    for seed in range(MUTATED_MAX):
        with MUTATIONS[name]():
            try:
                play(seed)
            except Violation as violation:
                print(f"{name} is noticed by seed {seed}: {str(violation).splitlines()[0]}")
                return True
    return False


def test_a_seed_is_one_history_in_any_process() -> None:
    logs = {_log_in_a_process(hash_seed) for hash_seed in ("1", "2")}
    assert len(logs) == 1
    assert "\n".join(play(4).log).encode() in logs


def test_a_broken_promise_comes_with_its_history(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.histories.run import main

    with MUTATIONS["success_before_rows"]():
        assert main(["0", "3"]) == 1
    printed = capsys.readouterr().out
    assert "puts" in printed
    assert "replay: python -m tests.histories.run" in printed


def test_every_crash_point_but_those_that_are_not_played_is_among_those_drawn() -> None:
    assert set(POINTS) - set(CRASH_POINTS) == NOT_PLAYED


def _log_in_a_process(hash_seed: str) -> bytes:
    code = "from tests.histories.history import play; print('\\n'.join(play(4).log), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True, timeout=100
    ).stdout
