"""Real processes end at every named point, and at any instant: nothing acknowledged is lost, nothing half is there.

One network serves all of them. What is stored goes on from test to test, so a later one also checks what an earlier one
left behind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hippy.points import POINTS
from tests.e2e.conftest import running
from tests.e2e.crashing import Crashes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MINERS = 5
RELEASES = ("miner.released", "miner.trash_unindexed", "miner.trash_removed", "validator.released")
"""What happens an hour or a day after something else; simulated histories end nodes there (tests.histories)."""

QUICK_NODES = [
    ("miner1", "miner.data_written"),
    ("miner2", "miner.renamed"),
    ("miner3", "miner.indexed"),
    ("validator1", "validator.committed"),
    ("validator1", "validator.rows"),
]
QUICK_CLIENTS = ["client.pieces", "client.committed", "client.file_written"]
NODES = [
    (f"{role}1", point)
    for role in ("miner", "validator")
    for point in POINTS
    if point.startswith((role, "kv.")) and point not in RELEASES
]
CLIENTS = [point for point in POINTS if point.startswith("client.")]
INSTANTS = 20


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    """A network of which nodes are to die."""
    with running(tmp_path_factory.mktemp("home"), MINERS) as shell:
        crashes = Crashes(shell)
        try:
            yield crashes
        finally:
            crashes.close()


@pytest.mark.parametrize(("node", "point"), QUICK_NODES)
def test_a_node_that_dies_here_loses_nothing_acknowledged(crashes: Crashes, node: str, point: str) -> None:
    crashes.node_dies_at(node, point)
    crashes.check_everything()


@pytest.mark.parametrize("point", QUICK_CLIENTS)
def test_a_client_that_dies_here_leaves_all_or_nothing(crashes: Crashes, point: str, tmp_path: Path) -> None:
    crashes.client_dies_at(point, tmp_path / "target")
    crashes.check_everything()


@pytest.mark.slow
@pytest.mark.parametrize("visit", [1, 4])
@pytest.mark.parametrize(("node", "point"), NODES)
def test_a_node_that_dies_at_any_point_loses_nothing_acknowledged(
    crashes: Crashes, node: str, point: str, visit: int
) -> None:
    crashes.node_dies_at(node, point, visit)
    crashes.check_everything()


@pytest.mark.slow
@pytest.mark.parametrize("point", CLIENTS)
def test_a_client_that_dies_at_any_point_leaves_all_or_nothing(crashes: Crashes, point: str, tmp_path: Path) -> None:
    crashes.client_dies_at(point, tmp_path / "target")
    crashes.check_everything()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(INSTANTS))
def test_a_node_that_dies_at_any_instant_loses_nothing_acknowledged(crashes: Crashes, seed: int) -> None:
    chance = random.Random(seed)
    node = chance.choice(["validator1", *(f"miner{number}" for number in range(1, MINERS + 1))])
    crashes.node_dies_in(node, chance.uniform(0.0, 2.0))
    crashes.check_everything()
