"""A headless Chromium under test, driven over its DevTools protocol; what goes wrong in its pages is kept.

Example::

    with chromium(binary, tmp_path) as port:
        async with browsing(port) as browser:
            await browser.open("http://127.0.0.1:8080/")
            assert await browser.evaluate("document.title") == "…"
            assert browser.faults == []
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.e2e.processes import wait_until

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 30.0
MESSAGE_BYTES_MAX: Final = 64 * 2**20
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Return the browser's program, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a browser; made by :func:`browsing`."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._happened: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.faults: list[str] = []
        """Exceptions, errors on the console, refusals by the page's policy, and loads that failed."""

        self.loaded: list[str] = []
        """Every address that was asked for."""

    async def listen(self) -> None:
        """Take what the browser says, until it says no more."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self._hear(told["method"], told["params"])

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.faults.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.faults.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.faults.append(f"{params['entry']['text']} ({params['entry'].get('url')})")
            case "Network.requestWillBeSent":
                self.loaded.append(params["request"]["url"])
        self._happened[method].set()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        told = await asyncio.wait_for(answer, ANSWER_SECONDS)
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def open(self, address: str) -> None:
        """Load a page and wait until it is there."""
        self._happened["Page.loadEventFired"].clear()
        await self.call("Page.navigate", url=address)
        await asyncio.wait_for(self._happened["Page.loadEventFired"].wait(), ANSWER_SECONDS)

    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression, or the promise it gives, comes to."""
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def look(self, *, width: int, height: int = 900, scale: float = 1, is_dark: bool = False) -> None:
        """Show the page on a screen of this size and scheme."""
        is_phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=is_phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        told = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))


@contextmanager
def chromium(binary: str, directory: Path) -> Iterator[int]:
    """Run a browser with a profile below ``directory``; yields the port of its protocol, for :func:`browsing`."""
    told = directory / "profile" / "DevToolsActivePort"
    command = [binary, *FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: told.exists() and "\n" in told.read_text(), seconds=START_SECONDS, what="a browser")
        yield int(told.read_text().split("\n")[0])
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def browsing(port: int) -> AsyncIterator[Browser]:
    """Open a page of its own, with nothing kept of earlier ones, for the duration of the block."""
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.put("/json/new?about:blank") as answer:
            page = await answer.json()
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=MESSAGE_BYTES_MAX) as socket:
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            for domain in ("Page", "Runtime", "Log", "Network"):
                await browser.call(f"{domain}.enable")
            await browser.call("Network.setCacheDisabled", cacheDisabled=True)
            yield browser
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        async with session.get(f"/json/close/{page['id']}"):
            pass
