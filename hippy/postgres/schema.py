"""The tables of a registry on a PostgreSQL server: made, and brought to the newest form, when a process opens them.

Steps are numbered from 1 and never change once released; a later form is a further step. Whoever opens the database
applies what is missing in one transaction, under a lock, so that processes that start together do not meet. A database
with more steps than we know belongs to a newer version of hippy and is refused.

=====================  ===============================================================================
table                  what it has
=====================  ===============================================================================
``hippy_schema``       the steps that were applied, and when
``hippy_row``          keys and values
``hippy_long_row``     those whose keys are longer than an index takes (hippy.postgres.view)
``hippy_writer``       of each process, the number of the batch that it wrote last (hippy.postgres.database)
``hippy_lease``        who works on which entry of a queue until when, in Unix seconds (hippy.postgres.leases)
=====================  ===============================================================================
"""

from __future__ import annotations

from typing import Final

from hippy.errors import ConfigError
from hippy.postgres.session import Session

LOCK_CLASS: Final = 0x68697070
"""``hipp``: our advisory locks are (this, one of the next two). They are per database of a server."""

SCHEMA_LOCK: Final = 1
WRITERS_LOCK: Final = 2

STEPS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE hippy_row (key bytea PRIMARY KEY, value bytea NOT NULL);
    CREATE TABLE hippy_long_row (digest bytea PRIMARY KEY, key bytea NOT NULL, value bytea NOT NULL);
    CREATE INDEX hippy_long_row_order ON hippy_long_row (substring(key FOR 2048));
    CREATE TABLE hippy_writer (
        writer bytea PRIMARY KEY, batch bigint NOT NULL, written timestamptz NOT NULL DEFAULT now());
    CREATE TABLE hippy_lease (key bytea PRIMARY KEY, holder bytea NOT NULL, until double precision NOT NULL);
    """,
)

WRITERS_KEPT: Final = "30 days"
"""How long the mark of a process that writes no more is kept."""


def prepare(session: Session) -> None:
    """Check a server and bring the tables to the newest form.

    Raises ConfigError for a server or a database that will not do, TemporaryError when it is away.
    """
    session.begin(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {SCHEMA_LOCK})")
    try:
        _check_durable(session)
        _migrate(session)
        session.run(f"DELETE FROM hippy_writer WHERE written < now() - interval '{WRITERS_KEPT}'; COMMIT")  # noqa: S608
    finally:
        session.end()


def _check_durable(session: Session) -> None:
    """Raises ConfigError for a server that acknowledges what a power cut may take."""
    for name in ("fsync", "full_page_writes"):
        if session.rows("SELECT current_setting($1) AS value", name)[0]["value"] != "on":
            raise ConfigError(
                f"the database server runs with {name} off: it would lose what it acknowledged",
                hint=f"set {name} = on in its postgresql.conf and reload it",
            )


def _migrate(session: Session) -> None:
    applied = _applied(session)
    if applied > len(STEPS):
        raise ConfigError(
            "the database was made by a newer version of hippy", hint="upgrade hippy on this machine, then start it"
        )
    for number, step in enumerate(STEPS[applied:], applied + 1):
        session.run(step)
        session.rows("INSERT INTO hippy_schema (step) VALUES ($1)", number)


def _applied(session: Session) -> int:
    session.run(
        "CREATE TABLE IF NOT EXISTS hippy_schema (step integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
    )
    found: int = session.rows("SELECT coalesce(max(step), 0) AS step FROM hippy_schema")[0]["step"]
    return found
