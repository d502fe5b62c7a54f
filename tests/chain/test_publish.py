"""What may be published, and how long a node tries."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from hippy.chain.protocol import Chain
from hippy.chain.publish import check_publishable, publish
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, HippyError, RateLimitedError, TemporaryError, UsageError
from hippy.testing.clock import START_SECONDS, VirtualClock

ENDPOINT = Endpoint("127.0.1.1", 4000)


class MoodyChain:
    """Refuses with one error after the other, then publishes."""

    def __init__(self, clock: VirtualClock, *errors: HippyError) -> None:
        self._clock = clock
        self._errors = list(errors)
        self.asked_seconds: list[float] = []
        self.published: Endpoint | None = None

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Refuse, or publish."""
        self.asked_seconds.append(self._clock.now() - START_SECONDS)
        if self._errors:
            raise self._errors.pop(0)
        self.published = endpoint


def moody(clock: VirtualClock, *errors: HippyError) -> tuple[MoodyChain, Chain]:
    chain = MoodyChain(clock, *errors)
    return chain, cast(Chain, chain)


async def test_what_the_chain_takes_is_published_at_once() -> None:
    clock = VirtualClock()
    moods, chain = moody(clock)
    await publish(chain, ENDPOINT, clock)
    assert (moods.published, moods.asked_seconds) == (ENDPOINT, [0])


async def test_tries_come_ever_more_seldom_and_never_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    errors = [RateLimitedError("too often"), *[TemporaryError("the chain is away")] * 6]
    moods, chain = moody(clock, *errors)
    with caplog.at_level(logging.WARNING, "hippy.chain"):
        publishing = asyncio.create_task(publish(chain, ENDPOINT, clock))
        await clock.advance(12 + 24 + 48 + 96 + 3 * 120)
        await publishing
    assert moods.asked_seconds == [0, 12, 36, 84, 180, 300, 420, 540]
    assert moods.published == ENDPOINT
    assert len(caplog.messages) == len(errors)
    assert caplog.messages[0] == "127.0.1.1:4000 is not published yet, next try in 12 s: too often"


@pytest.mark.parametrize("error", [AuthError("not registered"), UsageError("not an address")])
async def test_error_that_time_does_not_heal_ends_it(error: HippyError) -> None:
    clock = VirtualClock()
    moods, chain = moody(clock, error)
    with pytest.raises(type(error)):
        await publish(chain, ENDPOINT, clock)
    assert moods.asked_seconds == [0]


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_address_of_no_machine_is_published_nowhere(host: str, local: bool) -> None:
    with pytest.raises(ConfigError, match="every address"):
        check_publishable(host, local=local)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "::1", "fd00::1"])
def test_private_address_is_published_on_local_networks_only(host: str) -> None:
    check_publishable(host, local=True)
    with pytest.raises(ConfigError, match="not a public address") as caught:
        check_publishable(host, local=False)
    assert caught.value.hint


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
def test_public_address_may_be_published(host: str) -> None:
    check_publishable(host, local=False)


@pytest.mark.parametrize("host", ["169.254.1.1", "224.0.0.1", "fe80::1", "240.0.0.1"])
def test_what_no_peer_would_connect_to_is_not_published_on_a_local_network_either(host: str) -> None:
    with pytest.raises(ConfigError, match="no address that other machines"):
        check_publishable(host, local=True)
