"""Tables are made once, whoever starts first; a database that will not do is refused with the reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hippy.errors import ConfigError, TemporaryError
from hippy.postgres import schema
from hippy.postgres.database import open_postgres
from hippy.postgres.session import Session
from hippy.testing.kv_contract import fill, increment, keys_of
from tests.postgres.server import OwnServer, own_server, run_script, with_session

pytestmark = pytest.mark.postgres

PASSWORD = "do-not-show-me"


async def open_and_count(url: str) -> int:
    async with open_postgres(url) as database:
        return await database.transact(increment)


async def test_processes_that_start_together_make_the_tables_once(url: str) -> None:
    counts = await asyncio.gather(*(open_and_count(url) for _ in range(4)))
    assert sorted(counts) == list(range(4))
    assert _steps(url) == list(range(1, len(schema.STEPS) + 1))


async def test_missing_steps_are_applied_and_keep_what_was_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postgres(url) as database:
        await fill(database, [b"a"])
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "CREATE TABLE hippy_newer (key bytea)"))
    async with open_postgres(url) as database:
        assert await keys_of(database) == [b"a"]
    assert _steps(url) == list(range(1, len(schema.STEPS) + 1))
    run_script(url, "INSERT INTO hippy_newer VALUES ('')")


async def test_step_that_fails_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postgres(url) as database:
        await fill(database, [b"a"])
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, "DELETE FROM hippy_row; SELECT no_such_function()"))
        with pytest.raises(ConfigError):
            await open_and_count(url)
    async with open_postgres(url) as database:
        assert await keys_of(database) == [b"a"]


async def test_database_of_a_newer_version_is_refused(url: str) -> None:
    await open_and_count(url)
    run_script(url, f"INSERT INTO hippy_schema VALUES ({len(schema.STEPS) + 1})")
    with pytest.raises(ConfigError, match="made by a newer version of hippy"):
        await open_and_count(url)


async def test_server_that_does_not_sync_is_refused() -> None:
    refused = pytest.raises(ConfigError, match="runs with fsync off: it would lose what it acknowledged")
    with own_server("-c", "fsync=off") as server, refused:
        await open_and_count(server.url)


async def test_database_that_is_not_there_is_a_config_error(mortal: OwnServer) -> None:
    with pytest.raises(ConfigError, match="no such database"):
        await open_and_count(mortal.url.replace("/postgres?", "/missing?"))


async def test_server_that_is_not_there_is_said_to_be_away_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(TemporaryError, match="away") as caught:
        await open_and_count(f"postgresql://hippy:{PASSWORD}@/hippy?host={tmp_path}")
    assert PASSWORD not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__} {caplog.text}"
    assert "hippy:***@" in caplog.text


@pytest.mark.parametrize(
    "wrong", ["sslmode=perhaps", "sslrootcert=/nowhere/root.pem&sslmode=verify-full", "service=none"]
)
async def test_address_that_the_driver_cannot_use_is_a_config_error(
    wrong: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none"))
    monkeypatch.setenv("PGHOST", str(tmp_path))
    with pytest.raises((ConfigError, TemporaryError)) as caught:
        await open_and_count(f"postgresql://hippy:{PASSWORD}@127.0.0.1:1/hippy?{wrong}")
    assert PASSWORD not in f"{caught.value!r} {caplog.text}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[OwnServer]:
    """A server that asks for a password."""
    with own_server() as server:
        run_script(server.url, f"ALTER ROLE hippy PASSWORD '{PASSWORD}'")
        (server.data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        run_script(server.url, "SELECT pg_reload_conf()")
        yield server


async def test_password_is_taken_from_where_libpq_takes_it(
    guarded: OwnServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        assert await open_and_count(guarded.url) == 0
    (passwords := tmp_path / "pgpass").write_text(f"*:*:*:hippy:{PASSWORD}\n")
    passwords.chmod(0o600)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSFILE", str(passwords))
        assert await open_and_count(guarded.url) == 1
    (services := tmp_path / "services").write_text(
        f"[registry]\nhost={guarded.folder}\nuser=hippy\npassword={PASSWORD}\ndbname=postgres\n"
    )
    with monkeypatch.context() as patch:
        patch.setenv("PGSERVICEFILE", str(services))
        assert await open_and_count("postgresql://?service=registry") == 2
    assert await open_and_count(guarded.url.replace("hippy@", f"hippy:{PASSWORD}@")) == 3


async def test_wrong_password_is_a_config_error_that_does_not_repeat_it(
    guarded: OwnServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="does not let us in") as caught:
        await open_and_count(guarded.url.replace("hippy@", "hippy:another-one@"))
    assert "another-one" not in f"{caught.value!r} {caught.value.hint} {caplog.text}"


def _steps(url: str) -> list[int]:
    def look(session: Session) -> list[int]:
        session.begin("BEGIN")
        return [row["step"] for row in session.rows("SELECT step FROM hippy_schema ORDER BY step")]

    return with_session(url, look)
