"""Which registry a validator opens, and that the processes that share one have the same secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hippy.errors import ConfigError
from hippy.testing.kv import MemoryDatabase
from hippy.validator.registry import SECRET_DIGEST, check_secrets, open_registry
from hippy.validator.settings import ValidatorSettings

SECRETS = {"placement.secret": b"p" * 32, "envelope.key": b"e" * 32}


def settings(tmp_path: Path, registry: str | None = None) -> ValidatorSettings:
    return ValidatorSettings(
        network="local:net", hotkey_file=tmp_path / "hotkey", data_dir=tmp_path / "data", registry=registry
    )


async def test_registry_is_in_the_data_dir_unless_the_settings_name_another(tmp_path: Path) -> None:
    async with open_registry(settings(tmp_path)) as database:
        await database.transact(lambda txn: txn.put(b"a", b"b"))
    assert (tmp_path / "data" / "registry" / "CURRENT").exists()


async def test_missing_driver_is_a_config_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hippy.postgres.database", None)
    with pytest.raises(ConfigError, match="asyncpg") as caught:
        async with open_registry(settings(tmp_path, "postgresql:///hippy")):
            pass
    assert caught.value.hint == "pip install 'hippy-net[postgres]'"


async def test_secrets_of_the_first_process_are_those_of_all(tmp_path: Path) -> None:
    database = MemoryDatabase()
    for _ in range(2):
        await check_secrets(database, tmp_path, SECRETS)
    stored = await database.read(lambda reader: dict(reader.scan(SECRET_DIGEST)))
    assert len(stored) == 2
    assert not any(secret in value for secret in SECRETS.values() for value in stored.values())


@pytest.mark.parametrize("name", list(SECRETS))
async def test_process_with_another_secret_is_refused(tmp_path: Path, name: str) -> None:
    database = MemoryDatabase()
    await check_secrets(database, tmp_path, SECRETS)
    with pytest.raises(ConfigError, match=f"{name} is not the one that this registry's other processes have") as caught:
        await check_secrets(database, tmp_path, SECRETS | {name: b"x" * 32})
    assert "copy placement.secret and envelope.key here" in (caught.value.hint or "")
    await check_secrets(database, tmp_path, SECRETS)
