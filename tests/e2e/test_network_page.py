"""The network page of a real network in a real browser: its numbers are the JSON's, with the script and without."""

from __future__ import annotations

import json
import threading
import tomllib
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.chromium import Browser, browsing, chromium, find_chromium
from tests.e2e.conftest import running
from tests.e2e.local import Shell
from tests.e2e.processes import wait_until
from tests.validator.page.reading import SHOWN_SCRIPT, Shown, in_status

CHROMIUM: Final = find_chromium()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"),
]

EPOCH_SECONDS: Final = 4.0
FILES: Final = 6
FILE_BYTES: Final = 1_100_000
"""Just above what is packed: every file is a segment, and every miner has a piece of each."""

MINERS: Final = 4
TRIES: Final = 10
"""News until the script has both brought numbers up to date and fetched the page anew: there are two in an epoch."""

SCREENS: Final = (320, 390, 820, 1280, 1600)

POLL_SECONDS: Final = 0.2


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The browser of these tests."""
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path_factory.mktemp("browser")) as port:
        yield port


@pytest.fixture
async def browser(port: int) -> AsyncIterator[Browser]:
    """A page of it."""
    async with browsing(port) as browser:
        yield browser


async def test_the_page_shows_the_numbers_of_the_json(shared_network: Shell, browser: Browser) -> None:
    address = _address(shared_network)
    with _statuses(shared_network) as statuses:
        await browser.open(address)
        shown = await _shown(browser, statuses)
        assert {each.path for each in shown} >= {"totals.live_miners", "log_seq", "epoch", "used_bytes", "state"}
        await _refresh(browser)
        await _shown(browser, statuses)
    assert browser.faults == []
    assert all(url.startswith((address, "data:image/svg+xml,")) for url in browser.loaded)


async def test_without_its_script_the_page_says_the_same(shared_network: Shell, browser: Browser) -> None:
    await browser.call("Emulation.setScriptExecutionDisabled", value=True)
    with _statuses(shared_network) as statuses:
        await browser.open(_address(shared_network))
        assert len(await _shown(browser, statuses)) > 50
    assert await browser.evaluate("document.querySelectorAll('th button').length") == 0
    assert browser.faults == []


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Shell]:
    """A network of four miners that hold six segments, one epoch of whose audits has ended."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(FILES):
        (source / str(number)).write_bytes(number.to_bytes(4, "little") * (FILE_BYTES // 4))
    with running(tmp_path / "home", MINERS, epoch_seconds=EPOCH_SECONDS) as shell:
        shell.run("put", "-r", "--ec", "2/4", source, "hippy://b/d/")
        wait_until(lambda: _is_scored(shell), seconds=60, what="a first score")
        yield shell


@pytest.mark.slow
async def test_the_page_follows_a_network_over_an_epoch_and_fits_every_screen(
    audited: Shell, browser: Browser, tmp_path: Path
) -> None:
    with _statuses(audited) as statuses:
        await browser.open(_address(audited))
        shown = await _followed(browser, statuses)
    assert sum(int(each.value) for each in shown if each.path == "totals.leaves_ok") > 0
    held = [int(each.value) for each in shown if each.path == "standing.held_bytes"]
    assert held == [FILES * FILE_BYTES // 2] * MINERS
    for width, is_dark in product(SCREENS, (False, True)):
        await _look(browser, width, is_dark=is_dark, picture=tmp_path / f"{width}-{is_dark}.png")
    assert browser.faults == []


async def _followed(browser: Browser, statuses: Mapping[int, dict[str, Any]]) -> list[Shown]:
    """Have the script follow the network until it did both: update the numbers, and fetch the page anew."""
    kept, shown = set[bool](), await _shown(browser, statuses)
    for _ in range(TRIES):
        _wait_for_news(statuses)
        kept.add(await _refresh(browser))
        shown = await _shown(browser, statuses)
        if kept == {True, False}:
            break
    assert kept == {True, False}, "within an epoch numbers are updated, at its end the page is fetched anew"
    return shown


def _wait_for_news(statuses: Mapping[int, dict[str, Any]]) -> None:
    newest = max(statuses)
    wait_until(lambda: max(statuses) > newest, seconds=10, what="news")


async def _look(browser: Browser, width: int, *, is_dark: bool, picture: Path) -> None:
    """Look at the page on a screen: nothing of it sticks out, and it is as bright as it was asked to be."""
    await browser.look(width=width, is_dark=is_dark)
    assert await browser.evaluate("document.documentElement.scrollWidth") == width
    ground = await browser.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) / 3
    assert (brightness < 64) is is_dark
    await browser.screenshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


async def _shown(browser: Browser, statuses: Mapping[int, dict[str, Any]]) -> list[Shown]:
    """Return what the page shows, having compared all of it with the JSON of the same moment."""
    told = await browser.evaluate(f"[Number(document.getElementById('page').dataset.time), {SHOWN_SCRIPT}]")
    time, shown = told[0], [Shown(*each) for each in told[1]]
    wait_until(lambda: time in statuses, seconds=10, what="the JSON of the page's moment")
    for each in shown:
        if each.kind != "bar":
            assert str(in_status(statuses[time], each)) == each.value, each
    return shown


async def _refresh(browser: Browser) -> bool:
    """Have the script look for news, and return whether it kept the page rather than fetch it anew."""
    before = "document.getElementById('page').dataset.kept = 'yes'"
    after = "document.getElementById('page').dataset.kept === 'yes'"
    kept: bool = await browser.evaluate(
        f"""new Promise((resolve) => {{
          {before};
          new MutationObserver(() => resolve({after})).observe(document.documentElement, {{ attributes: true }});
          document.dispatchEvent(new Event("visibilitychange"));
        }})"""
    )
    return kept


@contextmanager
def _statuses(shell: Shell) -> Iterator[dict[int, dict[str, Any]]]:
    """Collect the JSON, by its time, for the duration of the block: it is made anew every few seconds."""
    found, over = dict[int, dict[str, Any]](), threading.Event()

    def collect() -> None:
        while not over.wait(POLL_SECONDS):
            status = _status(shell)
            found[status["time"]] = status

    collecting = threading.Thread(target=collect)
    collecting.start()
    try:
        yield found
    finally:
        over.set()
        collecting.join()


def _is_scored(shell: Shell) -> bool:
    standings = [miner.get("standing") for miner in _status(shell)["miners"]]
    return len(standings) == MINERS and all(each is not None and each["leaves_ok"] > 0 for each in standings)


def _address(shell: Shell) -> str:
    settings = tomllib.loads((shell.node_dir("validator1") / "settings.toml").read_text())
    return f"http://{settings['host']}:{settings['port']}/"


def _status(shell: Shell) -> dict[str, Any]:
    with urllib.request.urlopen(f"{_address(shell)}v1/status", timeout=5) as answer:
        status: dict[str, Any] = json.loads(answer.read())
    return status
