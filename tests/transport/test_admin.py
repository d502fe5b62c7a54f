"""The admin port over real sockets: who may ask what, when a node is ready, and what its metrics say."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hippy.errors import ConfigError, NoSpaceError
from hippy.testing.clock import VirtualClock
from hippy.transport import readiness
from hippy.transport.admin import (
    AdminDesk,
    AdminPlace,
    Attached,
    admin_serving,
    check_loopback,
    json_response,
)
from hippy.transport.admin_token import TOKEN_FILE
from hippy.transport.figures import Metric, Sample
from hippy.transport.readiness import Check, disk_check
from hippy.transport.server import Route, build_app, read_body, serving

USED = Metric("hippy_test_used_bytes", "gauge", "Bytes used.")


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[tuple[AdminDesk, str]]:
    async with admin_serving(AdminPlace("127.0.0.1", 0, data_dir), VirtualClock()) as desk:
        yield desk, f"http://{desk.endpoint}"


async def ask(url: str, *, token: str | None = None, method: str = "GET") -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as answer:
        return answer.status, await answer.text()


def token_of(data_dir: Path) -> str:
    return (data_dir / TOKEN_FILE).read_text().strip()


def saying(reason: str | None) -> Check:
    async def check() -> str | None:
        return reason

    return check


async def test_a_node_that_starts_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with opened(tmp_path) as (desk, url):
        assert (await ask(f"{url}/livez"))[0] == 200
        status, text = await ask(f"{url}/readyz")
        assert (status, json.loads(text)["ready"]) == (503, False)
        assert "not published" in json.loads(text)["reasons"]["start"]
        desk.attach(Attached(checks={"disk": disk_check(tmp_path)}))
        assert (await ask(f"{url}/readyz"))[0] == 503
        desk.announce()
        assert await ask(f"{url}/readyz") == (200, '{"ready": true, "reasons": {}}')


async def test_every_check_that_fails_is_a_reason(tmp_path: Path) -> None:
    async def full() -> str | None:
        raise NoSpaceError("the disk is full")

    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached(checks={"chain": saying("not read for 400 s"), "fine": saying(None), "disk": full}))
        desk.announce()
        status, text = await ask(f"{url}/readyz")
    assert status == 503
    assert json.loads(text)["reasons"] == {"chain": "not read for 400 s", "disk": "the disk is full"}


async def test_a_check_that_hangs_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0.01)

    async def hang() -> str | None:
        await asyncio.Event().wait()
        return None

    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached(checks={"store": hang}))
        desk.announce()
        _, text = await ask(f"{url}/readyz")
    assert "no answer within" in json.loads(text)["reasons"]["store"]


async def test_checks_run_once_however_many_ask(tmp_path: Path) -> None:
    runs = 0

    async def counted() -> str | None:
        nonlocal runs
        runs += 1
        return None

    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached(checks={"counted": counted}))
        desk.announce()
        assert {status for status, _ in await asyncio.gather(*(ask(f"{url}/readyz") for _ in range(8)))} == {200}
    assert runs == 1


@pytest.mark.parametrize("token", [None, "", "0" * 64, "\N{LATIN SMALL LETTER E WITH ACUTE}"])
async def test_without_the_token_there_is_only_health(tmp_path: Path, token: str | None) -> None:
    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached())
        for path in ("/metrics", "/accounts", "/"):
            status, text = await ask(url + path, token=token)
            assert (status, json.loads(text)["error"]["code"]) == (401, "auth")
            assert TOKEN_FILE in json.loads(text)["error"]["hint"]
            assert token_of(tmp_path) not in text


async def ask_as(url: str, path: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    "told",
    [
        {"Host": "evil.example:4101"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.1.10:4101"},
        {"Host": "[2001:db8::1]:4101"},
        {"Host": "localhost.evil.example"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_a_page_from_elsewhere_learns_nothing_through_a_browser_here(
    tmp_path: Path, told: dict[str, str], path: str
) -> None:
    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached())
        desk.announce()
        token = {"Authorization": f"Bearer {token_of(tmp_path)}"}
        assert await ask_as(url, path, **token) == 200
        assert await ask_as(url, path, **token, **told) == 401


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4101", "127.0.0.1:9", "127.9.9.9", "[::1]:4101", "[::1]"])
async def test_whatever_this_machine_is_called_here_will_do(tmp_path: Path, host: str) -> None:
    async with opened(tmp_path) as (_, url):
        assert await ask_as(url, "/livez", Host=host) == 200


async def test_a_role_adds_routes_behind_the_token(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return json_response({"got": (await read_body(request, 10)).decode()})

    async with opened(tmp_path) as (desk, url):
        token = token_of(tmp_path)
        assert (await ask(f"{url}/echo", token=token, method="POST"))[0] == 503  # not attached yet
        desk.attach(Attached(routes=[Route("POST", "/echo", echo)]))
        assert (await ask(f"{url}/echo", method="POST"))[0] == 401
        assert await ask(f"{url}/echo", token=token, method="POST") == (200, '{"got": ""}')
        assert (await ask(f"{url}/echo", token=token))[0] == 404


async def test_the_metrics_have_what_the_role_and_the_process_say(tmp_path: Path) -> None:
    async def figures() -> Iterable[Sample]:
        return [USED.sample(12_345)]

    async with opened(tmp_path) as (desk, url):
        desk.attach(Attached(metrics=[USED], figures=figures))
        status, text = await ask(f"{url}/metrics", token=token_of(tmp_path))
    assert status == 200
    assert "# HELP hippy_test_used_bytes Bytes used.\n# TYPE hippy_test_used_bytes gauge\n" in text
    assert "hippy_test_used_bytes 12345.0\n" in text
    assert "hippy_node_ready 0.0\n" in text
    assert "process_open_fds" in text


async def test_requests_are_counted_by_route_and_status(tmp_path: Path) -> None:
    async def take(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await read_body(request, 1000))

    async with opened(tmp_path) as (desk, url):
        app = build_app([Route("POST", "/v1/things/{name}", take)])
        desk.requests.count(app)
        desk.attach(Attached())
        async with (
            serving(app, "127.0.0.1", 0, traffic=desk.traffic) as served,
            aiohttp.ClientSession() as session,
        ):
            for path, body in (("/v1/things/a", b"x" * 700), ("/v1/things/b", b"x" * 1001), ("/etc/passwd", b"")):
                async with session.post(f"http://{served}{path}", data=body) as answer:
                    await answer.read()
        _, text = await ask(f"{url}/metrics", token=token_of(tmp_path))
    assert 'hippy_http_requests_total{method="POST",route="/v1/things/{name}",status="200"} 1.0' in text
    assert 'hippy_http_requests_total{method="POST",route="/v1/things/{name}",status="413"} 1.0' in text
    assert 'hippy_http_requests_total{method="other",route="other",status="404"} 1.0' in text
    assert 'hippy_http_rejections_total{method="POST",route="/v1/things/{name}"} 1.0' in text
    assert "\nhippy_http_connections_total 1.0\n" in text
    received = next(line for line in text.splitlines() if line.startswith("hippy_http_received_bytes_total"))
    assert 700 <= float(received.split()[1]) <= 1701
    assert "passwd" not in text


async def test_refusals_before_the_body_are_counted(tmp_path: Path) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse | None:
        raise NoSpaceError("full")

    async def never(_: web.Request) -> web.StreamResponse:
        raise AssertionError

    async with opened(tmp_path) as (desk, url):
        app = build_app([Route("PUT", "/v1/pieces/{root}", never, expect=refuse)])
        desk.requests.count(app)
        async with (
            serving(app, "127.0.0.1", 0) as served,
            aiohttp.ClientSession() as session,
            session.put(f"http://{served}/v1/pieces/00", data=b"x" * 9, expect100=True) as answer,
        ):
            assert answer.status == 507
        _, text = await ask(f"{url}/metrics", token=token_of(tmp_path))
    assert 'hippy_http_requests_total{method="PUT",route="/v1/pieces/{root}",status="507"} 1.0' in text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "localhost", ""])
async def test_an_address_that_others_could_reach_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="admin port may not listen"):
        async with admin_serving(AdminPlace(host, 0, tmp_path), VirtualClock()):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.7.1", "::1"])
def test_a_loopback_address_is_fine(host: str) -> None:
    check_loopback(host)


async def test_without_a_port_nothing_listens_and_nothing_is_written(tmp_path: Path) -> None:
    async with admin_serving(AdminPlace("127.0.0.1", None, tmp_path), VirtualClock()) as desk:
        desk.attach(Attached())
        assert desk.endpoint is None
    assert list(tmp_path.iterdir()) == []


async def test_a_node_that_runs_already_is_suspected_when_the_port_is_taken(tmp_path: Path) -> None:
    async with opened(tmp_path) as (desk, _):
        assert desk.endpoint is not None
        with pytest.raises(ConfigError, match="the admin port: cannot listen") as caught:
            async with admin_serving(AdminPlace("127.0.0.1", desk.endpoint.port, tmp_path), VirtualClock()):
                pass
    assert "running already" in (caught.value.hint or "")


async def test_the_token_stays_and_is_the_users_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with opened(data_dir):
        first = token_of(data_dir)
        assert (data_dir / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
        assert data_dir.stat().st_mode & 0o777 == 0o700
    async with opened(data_dir):
        assert token_of(data_dir) == first


@pytest.mark.parametrize(("mode", "text", "words"), [(0o644, "0" * 64, "mode 0644"), (0o600, "short", "no token")])
async def test_a_token_that_is_none_or_not_private_is_refused(tmp_path: Path, mode: int, text: str, words: str) -> None:
    path = tmp_path / TOKEN_FILE
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=words) as caught:
        async with opened(tmp_path):
            pass
    assert text not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
async def test_a_disk_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    reason = await disk_check(tmp_path)()
    tmp_path.chmod(0o700)
    assert reason is not None


async def test_a_folder_that_is_gone_cannot_be_written_and_a_check_leaves_no_file(tmp_path: Path) -> None:
    assert "cannot be written" in (await disk_check(tmp_path / "gone")() or "")
    assert await disk_check(tmp_path)() is None
    assert list(tmp_path.iterdir()) == []
