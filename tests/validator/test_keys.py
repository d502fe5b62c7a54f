"""The validator's secrets: made once, private, and the same after a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hippy.errors import ConfigError
from hippy.seal import envelope_public_key
from hippy.validator.keys import KEY_ID, encryption_key, load_secrets
from tests.validator.world import HOME, NETWORK, NOW


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    first = load_secrets(tmp_path / "data")
    assert load_secrets(tmp_path / "data") == first
    assert len({first.placement, first.envelope.private_key}) == 2
    files = sorted((tmp_path / "data").iterdir())
    assert [file.name for file in files] == ["envelope.key", "placement.secret"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_damaged_secret_stops_the_start(tmp_path: Path) -> None:
    load_secrets(tmp_path)
    (tmp_path / "envelope.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"envelope\.key"):
        load_secrets(tmp_path)


def test_shown_key_is_the_public_half_signed_by_the_hotkey(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path)
    shown = encryption_key(HOME, secrets.envelope, NOW)
    shown.check_signature(HOME.hotkey, NETWORK)
    assert (shown.key, shown.key_id) == (envelope_public_key(secrets.envelope.private_key), KEY_ID)
    assert shown.not_before <= NOW < shown.not_after
