"""The script in a real browser: it says numbers as the server does, sorts, and tells when nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest

from hippy.errors import TemporaryError
from hippy.testing.clock import VirtualClock
from hippy.transport.readiness import KEPT_SECONDS
from hippy.transport.server import build_app, serving
from hippy.validator.auditing.weighing import WeightsTry
from hippy.validator.page.document import document
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures
from hippy.validator.page.routes import PageRoutes
from hippy.validator.page.status import standings_of
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.status import NetworkStatus, WeightsOutcome
from tests.e2e.chromium import Browser, browsing, chromium, find_chromium
from tests.validator.page.reading import SHOWN_SCRIPT, Shown, shown_in
from tests.validator.page.world import EPOCH, HOTKEYS, OTHERS, entry, header, score, sheet, status
from tests.validator.world import NOW

CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")

STATES = ("live", "silent", "unpublished")
OUTCOMES: tuple[WeightsOutcome, ...] = ("accepted", "delayed", "refused", "nobody_earned")


class Scene:
    """A page in a browser; the test says which status is served next."""

    def __init__(self, browser: Browser, clock: VirtualClock) -> None:
        self.browser = browser
        self.status = status()
        self.is_away = False
        self._clock = clock

    async def gather(self) -> NetworkStatus:
        if self.is_away:
            raise TemporaryError("away")
        return self.status

    async def refresh(self) -> None:
        """Have the script take up what is served now."""
        await self._clock.advance(KEPT_SECONDS)
        await self.browser.evaluate(
            """new Promise((resolve) => {
              new MutationObserver(resolve).observe(document.documentElement, { attributes: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }).then(() => null)"""
        )

    async def shown(self) -> list[Shown]:
        return [Shown(*each) for each in await self.browser.evaluate(SHOWN_SCRIPT)]

    async def texts(self, selector: str) -> list[str]:
        found: list[str] = await self.browser.evaluate(
            f"[...document.querySelectorAll({selector!r})].map((each) => each.textContent)"
        )
        return found


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The browser of these tests."""
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path_factory.mktemp("browser")) as port:
        yield port


@pytest.fixture
async def scene(port: int) -> AsyncIterator[Scene]:
    clock = VirtualClock(float(NOW))
    async with browsing(port) as browser:
        scene = Scene(browser, clock)
        async with serving(build_app(PageRoutes(scene.gather, clock).routes()), "127.0.0.1", 0) as endpoint:
            by_hand = "window.setTimeout = () => 0"  # the script looks for news when the test says so
            await browser.call("Page.addScriptToEvaluateOnNewDocument", source=by_hand)
            await browser.open(f"http://{endpoint}/")
            yield scene


def drawn(rng: Random) -> NetworkStatus:
    """Return a status of the same shape as the usual one with any numbers in it."""

    def number() -> int:
        return rng.choice((0, 1, rng.randrange(2**11), rng.randrange(2 ** rng.randrange(12, 53)), INTEGER_MAX))

    def time() -> int:
        return max(0, NOW - rng.choice((0, 59, 60, 7_199, 7_200, 200_000, NOW, rng.randrange(10**7))))

    miners = [
        entry(
            i,
            state=rng.choice(STATES),
            seen_time=time(),
            capacity_bytes=number(),
            used_bytes=number(),
        )
        for i in range(12)
    ] + [entry(12, state="unpublished", endpoint=None, used_bytes=number())]
    return status(
        now=NOW + rng.randrange(10**6),
        block=number(),
        beacon_round=number(),
        log_seq=number(),
        miners=miners,
        owed_batches={key: rng.randrange(2**32) for key in HOTKEYS},
        committed_segments=number(),
        health=HealthFigures({14: 1 + number() // 2, 7: number(), 0: number(), -1: number()}, number()),
        repair=RepairFigures(number(), number(), number(), number()),
        weights=WeightsTry(number(), time(), rng.choice(OUTCOMES), rng.randrange(99)),
        followed=(FollowedLog(OTHERS[0], number(), number(), time()), FollowedLog(OTHERS[2], 1, number(), time())),
    )


async def test_the_script_says_every_number_as_the_server_does(scene: Scene) -> None:
    rng = Random(7)
    await scene.browser.evaluate("document.getElementById('page').dataset.kept = 'yes'")
    for _ in range(12):
        scene.status = drawn(rng)
        await scene.refresh()
        assert await scene.shown() == shown_in(document(scene.status, style="", script=""))
    assert await scene.browser.evaluate("document.getElementById('page').dataset.kept") == "yes", "it was not reloaded"
    assert scene.browser.faults == []


async def test_a_page_of_another_shape_is_fetched_anew_both_ways(scene: Scene) -> None:
    for changed in (
        status(miners=[entry(number) for number in range(5)]),
        status(header=header().model_copy(update={"epoch": EPOCH + 1})),
        status(standings=standings_of(sheet(score(3)))),
        status(repair=None),
        status(health=None),
        status(health=HealthFigures({2: 7}, 0)),
        status(weights=None, block=None, chain_epoch=None),
        status(followed=()),
    ):
        for told in (changed, status()):
            scene.status = told
            await scene.refresh()
            assert await scene.shown() == shown_in(document(told, style="", script=""))
    assert scene.browser.faults == []


async def test_a_column_that_was_chosen_stays_sorted_and_what_was_opened_stays_open(scene: Scene) -> None:
    click = "[...document.querySelectorAll('th button')].find((each) => each.textContent === {!r}).click()"
    uids = ".miners [data-label=UID] data"
    await scene.browser.evaluate("document.querySelector('.miners details').open = true")
    await scene.browser.evaluate(click.format("Weight"))
    first = await scene.texts(uids)
    assert first[:3] == ["10", "8", "6"]
    assert first[-1] == "12", "what has no number comes last"
    assert await scene.texts("th[aria-sort=descending]") == ["Weight"]
    scene.status = status(header=header().model_copy(update={"epoch": EPOCH + 1}))
    await scene.refresh()
    assert await scene.texts(uids) == first
    assert await scene.texts("details[open] summary") == ["proofs 0.41 %"]
    await scene.browser.evaluate(click.format("Weight"))
    assert (await scene.texts(uids))[0] == "11"
    await scene.browser.evaluate(click.format("State"))
    assert (await scene.texts(".miners .state > data"))[-2:] == ["silent", "no endpoint"]
    assert scene.browser.faults == []


async def test_a_validator_that_does_not_answer_is_said_so_until_it_does(scene: Scene) -> None:
    scene.is_away = True
    await scene.refresh()
    assert await scene.texts("#live.away") == ["the validator does not answer"]
    scene.is_away = False
    await scene.refresh()
    assert await scene.texts("#live.away") == []
    assert await scene.texts("#live") == ["every 5 s"]
