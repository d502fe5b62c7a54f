"""Asking an admin port: what comes back when it answers, refuses, is something else, or is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ProtocolError, UnreachableError
from hippy.testing.clock import VirtualClock
from hippy.transport import admin_client
from hippy.transport.admin import AdminPlace, Attached, admin_serving, json_response
from hippy.transport.admin_client import ask
from hippy.transport.admin_token import read_token
from hippy.transport.server import Route, build_app, read_body, serving


async def refused(text: str) -> ProtocolError:
    """What is raised for a server that answers ``text``."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = answer
    async with serving(build_app([Route("GET", "/accounts", handler)]), "127.0.0.1", 0) as place:
        with pytest.raises(ProtocolError) as caught:
            await ask(place, "GET", "/accounts")
    return caught.value


async def test_answers_and_refusals_come_back_as_they_are(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return json_response({"got": (await read_body(request, 10)).decode()})

    async with admin_serving(AdminPlace("127.0.0.1", 0, tmp_path), VirtualClock()) as desk:
        assert desk.endpoint is not None
        desk.attach(Attached(routes=[Route("POST", "/echo", echo)]))
        token = read_token(tmp_path)
        assert await ask(desk.endpoint, "POST", "/echo", token=token, body=b"hello") == {"got": "hello"}
        assert (await ask(desk.endpoint, "GET", "/readyz"))["ready"] is False  # a 503 that is an answer
        with pytest.raises(AuthError, match="token"):
            await ask(desk.endpoint, "POST", "/echo", token="0" * 64)


@pytest.mark.parametrize("text", ["", "hello", "[]", "1", '{"error": "x"}', '{"error": {"code": "auth"}}'])
async def test_what_is_no_admin_port_is_said_to_be_none(text: str) -> None:
    assert "no admin port of hippy" in (await refused(text)).message


async def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "ANSWER_BYTES_MAX", 100)
    assert "too long" in (await refused("x" * 101)).message


async def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="nothing answers") as caught:
        await ask(Endpoint("127.0.0.1", 1), "GET", "/readyz")
    assert "admin_port" in (caught.value.hint or "")
