"""Leaving, on the admin port: what ``hippy miner drain`` asks (hippy.miner.draining does it).

``POST /drain`` with ``{"action":"start"}`` or ``"stop"`` makes the wish durable; it and ``GET /drain`` answer how far
it is. Who may call is the admin port's to decide.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from aiohttp import web

from hippy.identity import ss58_encode
from hippy.miner.draining import Draining, Issuer, State
from hippy.miner.drains import Action
from hippy.transport.admin import json_response
from hippy.transport.server import Route, read_body
from hippy.wire.canonical import Message

DRAIN_PATH: Final = "/drain"
WISH_BYTES_MAX: Final = 64


class DrainWish(Message):
    """What the operator wants."""

    TYPE: ClassVar[str] = "drain-wish"
    action: Action


def drain_routes(draining: Draining) -> list[Route]:
    """Return the routes for the admin port."""

    async def show(_: web.Request) -> web.StreamResponse:
        return json_response(_told(await draining.state()))

    async def change(request: web.Request) -> web.StreamResponse:
        wish = DrainWish.parse(await read_body(request, WISH_BYTES_MAX))
        await draining.wish(wish.action)
        return json_response(_told(await draining.state()))

    return [Route("GET", DRAIN_PATH, show), Route("POST", DRAIN_PATH, change)]


def _told(state: State) -> dict[str, Any]:
    """Return a state as JSON: numbers that nobody has told yet are null."""
    return {
        "draining": state.wish.action == "start",
        "since": state.wish.time,
        "complete": state.is_complete,
        "done": state.is_done,
        "validators": [_issuer(issuer) for issuer in state.issuers],
    }


def _issuer(issuer: Issuer) -> dict[str, Any]:
    left = issuer.left
    return {
        "validator": ss58_encode(issuer.validator),
        "pieces": None if left is None else left.pieces,
        "bytes": None if left is None else left.bytes,
        "told": None if left is None else int(issuer.left_time),
        "owed_pieces": issuer.owed_pieces,
        "owed_bytes": issuer.owed_bytes,
        "error": issuer.error,
    }
