"""Settings of a miner: defaults, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import ConfigError
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


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("", "capacity_bytes"),
        ("capacity_bytes = 0", "capacity_bytes"),
        ("capacity_bytes = 1\ndisk_reserve_bytes = -1", "disk_reserve_bytes"),
        ("capacity_bytes = 1\nbody_bytes_in_flight_max = 4194303", "body_bytes_in_flight_max"),
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
