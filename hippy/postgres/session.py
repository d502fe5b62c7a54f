"""One connection to a PostgreSQL server, used by one thread at a time; the one module that knows asyncpg. Blocking.

Functions on state are plain functions in threads, so every connection has an event loop of its own that runs while a
statement does: a round trip costs 60 µs over a Unix socket, without handing anything to another thread.

Invariants: every call has a deadline; whatever goes wrong ends the connection, so that its transaction is rolled back
and no later statement can run in half of one; the next :meth:`Session.begin` connects again by itself. After a failed
attempt to connect nobody tries again for :data:`RECONNECT_SECONDS`; all are told at once that the server is away.

Example::

    session = Session(Server("postgresql:///hippy"))
    session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    rows = session.rows("SELECT value FROM hippy_row WHERE key = $1", b"key")
    session.end()
    session.close()
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg

from hippy.errors import HippyError, TemporaryError
from hippy.postgres.address import masked
from hippy.postgres.errors import explained, misunderstood

log = logging.getLogger("hippy.kv")

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
CALL_SECONDS: Final = 40.0
"""Longer than any statement may take, so that a server that is slow says so itself."""

RECONNECT_SECONDS: Final = 0.5

SERVER_SETTINGS: Final = {
    "application_name": "hippy",
    # What the server's operator may have set for others must not change what our promises rest on.
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    # Milliseconds. A process that stops in the middle must not keep others from writing.
    "lock_timeout": "10000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "30000",
    "client_connection_check_interval": "5000",
    # Everything we ask is answered from an index; a planner without statistics may think otherwise.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
"""Of every connection. ``client_connection_check_interval`` makes PostgreSQL 14 the oldest that will do."""


class Server:
    """A server as the sessions of one database see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = masked(url)
        self.is_starting = True
        """Until a node has used it once: what is wrong then is the operator's to put right."""

        self.next_try = 0.0
        """When, in time.monotonic(), it may be tried to connect."""


class Session:
    """A connection that is made when it is needed, and made again when it was lost."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._runner: asyncio.Runner | None = None
        self._connection: Any = None
        self.failure: TemporaryError | None = None
        """Why the connection that :meth:`begin` had was lost, if it was."""

    def begin(self, script: str) -> None:
        """Run the first statements of a transaction; if the connection was lost meanwhile, on a new one.

        Raises TemporaryError; ConfigError while the node starts.
        """
        self.failure = None
        if self._connection is not None:
            try:
                return self.run(script)
            except TemporaryError as error:
                log.info("the connection to the database server is made anew: %s", error)
                self.failure = None
        self._connect()
        return self.run(script)

    def run(self, script: str) -> None:
        """Run statements that have neither parameters nor results, in one round trip. Raises as :meth:`begin` does."""
        self._call(lambda: self._connection.execute(script))

    def rows(self, query: str, *arguments: object) -> list[Any]:
        """Run one statement and return its rows. Raises as :meth:`begin` does."""
        return self._call(lambda: self._connection.fetch(query, *arguments))

    def end(self) -> None:
        """End a transaction that changed nothing; that it cannot be ended is nobody's problem."""
        if self._connection is not None:
            with suppress(HippyError):
                self.run("ROLLBACK")

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            with suppress(HippyError):
                self._call(lambda: self._connection.close(timeout=CONNECT_SECONDS))
        self._drop()

    def _connect(self) -> None:
        server = self._server
        if time.monotonic() < server.next_try:
            self.failure = TemporaryError("the database server is away", hint="try again in a moment")
            raise self.failure
        runner = self._runner = asyncio.Runner(loop_factory=_loop_factory())
        try:
            self._connection = runner.run(_connected(server.url))
        except (asyncpg.ClientConfigurationError, ValueError, KeyError) as error:
            raise self._failed(misunderstood(is_starting=server.is_starting), error) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            server.next_try = time.monotonic() + RECONNECT_SECONDS
            raise self._failed(explained(error, is_starting=server.is_starting), error) from None

    def _call(self, statement: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._connection is None or self._runner is None:
            raise self.failure or TemporaryError("the connection to the database server was lost", hint="try again")
        try:
            return self._runner.run(_in_time(statement))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise self._failed(explained(error, is_starting=self._server.is_starting), error) from None

    def _failed(self, told: HippyError, error: BaseException) -> HippyError:
        """Take note of a failure, and end the connection."""
        said = str(error).partition("\n")[0]
        log.error("%s: %s (%s: %s)", self._server.name, told, type(error).__name__, said)
        self.failure = told if isinstance(told, TemporaryError) else TemporaryError(told.message, hint=told.hint)
        self._drop()
        return told

    def _drop(self) -> None:
        runner, connection = self._runner, self._connection
        self._runner = self._connection = None
        if runner is not None:
            if connection is not None and not connection.is_closed():
                runner.run(_terminated(connection))
            runner.close()


async def _connected(url: str) -> Any:
    return await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings=SERVER_SETTINGS)


async def _in_time(statement: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async with asyncio.timeout(CALL_SECONDS):
        return await statement()


async def _terminated(connection: Any) -> None:
    connection.terminate()
    await asyncio.sleep(0)  # a turn of the loop, in which the socket is closed


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's, with which a round trip takes half as long; where there is none, asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
