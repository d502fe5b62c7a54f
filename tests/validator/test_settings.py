"""Settings of a validator: what a TOML file says, and faults by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import ConfigError
from hippy.settings import load_settings
from hippy.validator.settings import ValidatorSettings
from tests.validator.world import ACCOUNT

BASE = 'network = "local:net"\nhotkey_file = "hotkey"\ndata_dir = "data"\n'


def load(path: Path, text: str) -> ValidatorSettings:
    file = path / "validator.toml"
    file.write_text(BASE + text)
    return load_settings(ValidatorSettings, file)


def test_account_becomes_the_record_that_is_logged(tmp_path: Path) -> None:
    settings = load(tmp_path, f'[[accounts]]\naccount = "{ACCOUNT.ss58}"\nquota_bytes = 5\n')
    (record,) = [account.record() for account in settings.accounts]
    assert (record.account, record.pay_class, record.quota_bytes) == (ACCOUNT.public_key, "paid", 5)


def test_without_more_settings_strangers_are_turned_away(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert (settings.accounts, settings.unpaid_quota_bytes, settings.probe_seconds) == ((), 0, 30.0)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[[accounts]]\naccount = "nobody"\nquota_bytes = 5\n', "accounts.0.account"),
        (f'[[accounts]]\naccount = "{ACCOUNT.ss58}"\n', "accounts.0.quota_bytes"),
        ("probe_seconds = 0\n", "probe_seconds"),
        ("probe = 1\n", "probe"),
    ],
)
def test_fault_names_its_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        load(tmp_path, text)
