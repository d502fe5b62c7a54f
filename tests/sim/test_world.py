"""Who there is and what lies where."""

from __future__ import annotations

import pytest

from hippy.errors import UsageError
from hippy.sim.settings import Settings
from hippy.sim.strategies import HONEST, STRATEGIES, chosen
from hippy.sim.world import make_world
from tests.sim.worlds import small


def test_every_strategy_has_one_operator_and_the_others_are_honest() -> None:
    world = make_world(small(), chosen(["split-4", "drop-1%"]))
    names = [miner.operator for miner in world.miners]
    assert (names.count("split-4"), names.count("drop-1%"), names.count(HONEST)) == (4, 1, 35)
    assert len({miner.hotkey for miner in world.miners}) == 40


@pytest.mark.parametrize(("name", "coldkeys"), [("split-4", 1), ("split-4-keys", 4)])
def test_identities_of_one_operator_share_a_coldkey_or_do_not(name: str, coldkeys: int) -> None:
    miners = [miner for miner in make_world(small(), chosen([name])).miners if miner.operator == name]
    assert len({miner.coldkey for miner in miners}) == len({miner.group for miner in miners}) == coldkeys
    assert len({miner.link.round_trip_seconds for miner in miners}) == 1


def test_all_bytes_of_all_accounts_are_with_some_miner() -> None:
    world = make_world(small(), chosen(["wash-zeros"]))
    held = sum(miner.shelf.owed_bytes for miner in world.miners)
    assert held == sum(world.holdings.by_account.values()) == sum(world.holdings.by_coldkey.values())
    assert set(world.holdings.by_account) == {"customer-a", "customer-b", "customer-c", "account of wash-zeros"}


def test_the_same_settings_give_the_same_world() -> None:
    one, two, other = (make_world(small(seed=seed), {}) for seed in (1, 1, 2))
    assert [miner.shelf.owed for miner in one.miners] == [miner.shelf.owed for miner in two.miners]
    assert [miner.hotkey for miner in one.miners] != [miner.hotkey for miner in other.miners]


def test_a_world_of_cheats_is_refused() -> None:
    with pytest.raises(UsageError, match="more than half") as caught:
        make_world(small(miners=20), chosen(["split-16"]))
    assert caught.value.hint == "use 32 miners or more, or fewer strategies"


def test_an_unknown_strategy_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="no strategy 'drop-2%'") as caught:
        chosen(["drop-2%"])
    assert "drop-1%" in (caught.value.hint or "")
    assert list(chosen([])) == [name for name in STRATEGIES if name != HONEST]


@pytest.mark.parametrize("wrong", [{"miners": 0}, {"days": 0}, {"days": 0.01}, {"validators": 17}, {"days": 400}])
def test_a_run_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)  # type: ignore[arg-type]
