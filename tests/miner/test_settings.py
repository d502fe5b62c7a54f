"""Settings of a miner: defaults, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import ConfigError
from hippy.miner.options import Chores, Extras
from hippy.miner.settings import VALIDATOR_STAKE_MIN_RAO, MinerSettings
from hippy.settings import load_settings

BASE = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\n'


def load(folder: Path, more: str) -> MinerSettings:
    path = folder / "miner.toml"
    path.write_text(BASE + more)
    return load_settings(MinerSettings, path)


def test_reserve_and_upload_memory_have_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "capacity_bytes = 1000")
    assert (settings.capacity_bytes, settings.disk_reserve_bytes) == (1000, 2**30)
    assert settings.body_bytes_in_flight_max == 64 * 2**20


def test_background_work_has_defaults_and_settings(tmp_path: Path) -> None:
    usual = load(tmp_path, "capacity_bytes = 1000")
    assert usual.extras(local=False) == Extras(64 * 2**20, 2**30, 30 * 86_400)
    assert usual.extras(local=True).ballast_bytes == 0
    assert usual.chores() == Chores(30 * 86_400, 16 * 2**20)
    chosen = load(
        tmp_path,
        "capacity_bytes = 1000\nballast_bytes = 7\nquarantine_bytes_max = 8\nquarantine_days = 0.5\n"
        "scrub_days = 2\nscrub_bytes_per_second_max = 65536",
    )
    assert chosen.extras(local=True) == chosen.extras(local=False) == Extras(7, 8, 43_200)
    assert chosen.chores() == Chores(172_800, 65_536)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("", "capacity_bytes"),
        ("capacity_bytes = 0", "capacity_bytes"),
        ("capacity_bytes = 1\ndisk_reserve_bytes = -1", "disk_reserve_bytes"),
        ("capacity_bytes = 1\nbody_bytes_in_flight_max = 4194303", "body_bytes_in_flight_max"),
        ("capacity_bytes = 1\nballast_bytes = 1073741825", "ballast_bytes"),
        ("capacity_bytes = 1\nscrub_days = 0", "scrub_days"),
        ("capacity_bytes = 1\nscrub_bytes_per_second_max = 65535", "scrub_bytes_per_second_max"),
        ("capacity_bytes = 1\nquarantine_bytes_max = -1", "quarantine_bytes_max"),
        ("capacity_bytes = 1\nquarantine_days = -1", "quarantine_days"),
    ],
)
def test_impossible_setting_is_named(tmp_path: Path, more: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        load(tmp_path, more)


def test_tickets_need_stake_on_public_networks_and_any_on_local_ones(tmp_path: Path) -> None:
    def settings(stake: int | None) -> MinerSettings:
        return MinerSettings(
            network="finney",
            hotkey_file=tmp_path,
            data_dir=tmp_path,
            capacity_bytes=1,
            validator_stake_min_rao=stake,
        )

    assert settings(None).stake_min_rao(local=True) == 1
    assert settings(None).stake_min_rao(local=False) == VALIDATOR_STAKE_MIN_RAO == 10**12
    assert settings(7).stake_min_rao(local=True) == settings(7).stake_min_rao(local=False) == 7
