"""What a node's process inherits and what is told of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import TemporaryError
from hippy.net.plan import NetworkPlan, NodePlan
from hippy.net.process import NodeProcess, environment_of


def test_settings_of_the_user_do_not_reach_the_nodes() -> None:
    given = dict.fromkeys(("HIPPY_PORT", "HIPPY_DATA_DIR", "HIPPY_HOME", "HIPPY_DEBUG", "HIP", "PATH"), "1")
    assert environment_of(given).keys() == {"HIPPY_DEBUG", "HIP", "PATH"}


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ('{"level":"INFO"}\nerror: the port is taken\nhint: choose another\n', "the port is taken"),
        ("Killed\n", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_a_node_that_ended_is_quoted(tmp_path: Path, log: str, words: str) -> None:
    node = NodePlan("miner1", "miner", "127.0.0.1", 1)
    plan = NetworkPlan(tmp_path, (node,))
    plan.log_file(node).parent.mkdir(parents=True)
    plan.log_file(node).write_text(log)
    process = NodeProcess(plan, node)
    process.state = "failed"
    with pytest.raises(TemporaryError) as caught:
        process.check_alive()
    assert str(caught.value) == f"miner1 ended by itself: {words}"
