"""The validator's part of the admin port: accounts, metrics, and whether its database answers.

``GET /accounts`` lists them, ``POST /accounts`` adds or changes one (hippy.validator.admin says what that means). Who
may call is the admin port's to decide: it is on a loopback address and asks for a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from hippy.transport.admin import json_response
from hippy.transport.figures import Metric, Sample
from hippy.transport.server import Route, message_response, read_body
from hippy.validator.admin import Administration
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.log import AccountRecord

LOG_RECORDS: Final = Metric("hippy_validator_log_records", "gauge", "The number of the newest record of the log.")
ACCOUNTS: Final = Metric("hippy_validator_accounts", "gauge", "Accounts that the operator set.")
USED: Final = Metric("hippy_validator_used_bytes", "gauge", "Bytes that all accounts are charged.")
SEGMENTS: Final = Metric("hippy_validator_segments", "gauge", "Committed segments that are not released.")
RELEASED: Final = Metric("hippy_validator_released_segments", "gauge", "Segments that were released.")
OBJECTS: Final = Metric("hippy_validator_objects", "gauge", "Objects of all accounts.")
METRICS: Final = (LOG_RECORDS, ACCOUNTS, USED, SEGMENTS, RELEASED, OBJECTS)


class AdminRoutes:
    """Answers the operator of one validator."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    def routes(self) -> list[Route]:
        """Return the routes for the admin port."""
        return [Route("GET", "/accounts", self._list), Route("POST", "/accounts", self._set)]

    async def samples(self) -> Iterable[Sample]:
        """Return the registry's figures."""
        figures = await self._administration.figures()
        return [
            LOG_RECORDS.sample(figures.log_seq),
            ACCOUNTS.sample(figures.accounts),
            USED.sample(figures.used_bytes),
            SEGMENTS.sample(figures.segments),
            RELEASED.sample(figures.released_segments),
            OBJECTS.sample(figures.objects),
        ]

    async def check(self) -> None:
        """Write to the registry and read it; raises TemporaryError when either cannot be done."""
        await self._administration.check_writable()
        await self._administration.figures()

    async def _list(self, _: web.Request) -> web.StreamResponse:
        accounts = await self._administration.list_accounts()
        return json_response({"accounts": [status.model_dump(mode="json") for status in accounts]})

    async def _set(self, request: web.Request) -> web.StreamResponse:
        record = AccountRecord.parse(await read_body(request, MESSAGE_BYTES_MAX))
        return message_response(await self._administration.set_account(record))
