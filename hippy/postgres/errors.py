"""What a PostgreSQL server or the way to it may do to us, in words for an operator.

Everything the world may put right again is a TemporaryError. What only the operator can put right (a wrong password, a
database that is not there) is a ConfigError while a node starts, and a TemporaryError once it has run: somebody may be
at it this moment. No message repeats what the server or the driver said; the log has that.

Codes are SQLSTATE (PostgreSQL's documentation, appendix A); a driver's error without one is about the connection.
"""

from __future__ import annotations

from typing import Final

from hippy.errors import ConfigError, HippyError, NoSpaceError, TemporaryError

AGAIN: Final = "the node goes on by itself when it is back"

_CONFIG: Final = {
    "28": ("the database server does not let us in", "check user and password: PGPASSWORD, PGPASSFILE or the settings"),
    "3D000": ("the database server has no such database", "create it: createdb --owner hippy hippy"),
    "42501": ("the database's user may not do what the registry needs", "make it the owner of the database"),
    "3F": ("there is no schema to make the registry's tables in", "look at the user's search_path"),
    "42": ("the registry's tables are not as they should be", "was the database restored by halves? The log says more"),
    "0A": ("the database server cannot do what the registry needs", "PostgreSQL 14 or newer"),
}
"""The beginning of a code → what an operator has to put right, and how."""

_TEMPORARY: Final = {
    "25006": (
        "the database server takes no writes: it is a standby, or read-only",
        "name all servers in the address, with target_session_attrs=primary",
    ),
    "55P03": ("other processes of this registry write for too long", "try again in a moment"),
    "57014": ("the database server took too long", "its log says why; look at its load and its disk"),
    "53300": ("the database server has no connection left for us", "raise max_connections, or run fewer processes"),
    "53": ("the database server is short of something", "its log says of what"),
    "40": ("the database server put us off", "try again"),
}


def explained(error: BaseException, *, is_starting: bool) -> HippyError:
    """Return our error for one of the driver, the server or the network."""
    code = getattr(error, "sqlstate", None) or ""
    if code == "53100":
        return NoSpaceError("the database server's disk is full", hint="free space there: the node goes on by itself")
    if code.startswith("42704"):  # an option of the session that older servers do not know
        return _fatal("the database server is too old", "PostgreSQL 14 or newer", is_starting=is_starting)
    if (found := _found(_TEMPORARY, code)) is not None:
        return TemporaryError(found[0], hint=found[1])
    if (found := _found(_CONFIG, code)) is not None:
        return _fatal(*found, is_starting=is_starting)
    if isinstance(error, TimeoutError):
        return TemporaryError("the database server does not answer", hint=AGAIN)
    return TemporaryError("the database server is away", hint=AGAIN)


def misunderstood(*, is_starting: bool) -> HippyError:
    """Return the error for an address that the driver cannot use."""
    return _fatal(
        "the registry's address cannot be used",
        "postgresql://USER@HOST:PORT/DATABASE; the files that it or PG* variables name must be there",
        is_starting=is_starting,
    )


def _found(table: dict[str, tuple[str, str]], code: str) -> tuple[str, str] | None:
    """Return the entry for a code, or for its class."""
    return table.get(code) or table.get(code[:2])


def _fatal(message: str, hint: str, *, is_starting: bool) -> HippyError:
    return ConfigError(message, hint=hint) if is_starting else TemporaryError(message, hint=hint)
