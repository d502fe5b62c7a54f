"""A validator attests the silence that it saw itself, and only while it can tell it from its own absence."""

from __future__ import annotations

from dataclasses import dataclass, field

from hippy.ids import PublicKey
from hippy.testing.clock import VirtualClock
from hippy.validator.auditing.attester import KEPT_SECONDS, Attester
from hippy.validator.auditing.contacts import Contacts
from hippy.wire.attestation import ATTESTATIONS_BYTES_MAX, Attestations
from tests.validator.world import HOME, MINERS, NETWORK

DAY = 86_400.0
KEYS = [miner.public_key for miner in MINERS[:4]]
GONE = KEYS[0]


@dataclass
class Sightings:
    """When handshakes succeeded."""

    seen: dict[PublicKey, int] = field(default_factory=dict)

    def last_seen_time(self, hotkey: PublicKey) -> int | None:
        return self.seen.get(hotkey)


class Watch:
    """A validator that knows four miners, for a while."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.sightings = Sightings()
        self.contacts = Contacts(self.sightings, self.clock)
        self.doubts = False
        self.attester = Attester(
            HOME,
            self.contacts,
            self.clock,
            known=lambda: KEYS,
            doubts=lambda: self.doubts,
            silent_seconds=DAY,
        )

    async def wait(self, seconds: float, *silent: PublicKey) -> None:
        """Let time pass, and meet everybody but these at its end."""
        await self.clock.advance(seconds)
        self.sightings.seen |= {miner: int(self.clock.now()) for miner in KEYS if miner not in silent}

    async def told(self) -> Attestations:
        return Attestations.parse(await self.attester.encoded(), limit=ATTESTATIONS_BYTES_MAX)

    async def silent(self) -> list[PublicKey]:
        return [each.miner for each in (await self.told()).attestations]


async def test_a_miner_that_was_silent_for_a_day_is_attested_since_its_last_contact() -> None:
    watch = Watch()
    await watch.wait(500)
    last = watch.sightings.seen[GONE]
    await watch.wait(DAY - 1, GONE)
    assert await watch.silent() == []
    await watch.wait(KEPT_SECONDS, GONE)
    (found,) = (await watch.told()).attestations
    assert (found.miner, found.since, found.time) == (GONE, last, int(watch.clock.now()))
    found.check_signature(HOME.hotkey, NETWORK)


async def test_a_run_attests_no_silence_from_before_it_began() -> None:
    watch = Watch()
    watch.sightings.seen[GONE] = int(watch.clock.now() - 7 * DAY)
    await watch.wait(DAY - 1, GONE)
    assert await watch.silent() == []
    await watch.wait(KEPT_SECONDS, GONE)
    assert [each.since for each in (await watch.told()).attestations] == [int(watch.contacts.silent_since(GONE))]


async def test_an_answer_or_a_piece_that_was_read_is_a_contact_too() -> None:
    watch = Watch()
    await watch.wait(DAY + 1, GONE)
    watch.contacts.note(GONE)
    assert await watch.silent() == []
    await watch.wait(DAY, GONE)
    assert await watch.silent() == [GONE]


async def test_a_validator_that_reaches_few_miners_attests_nothing() -> None:
    watch = Watch()
    await watch.wait(DAY + 1, *KEYS[:3])
    assert await watch.silent() == []
    await watch.wait(KEPT_SECONDS, *KEYS[:2])
    assert await watch.silent() == sorted(KEYS[:2])


async def test_a_validator_that_doubts_itself_attests_nothing() -> None:
    watch = Watch()
    watch.doubts = True
    await watch.wait(DAY + 1, GONE)
    assert await watch.silent() == []
    watch.doubts = False
    await watch.wait(KEPT_SECONDS, GONE)
    assert await watch.silent() == [GONE]


async def test_who_asks_often_gets_the_same_signatures() -> None:
    watch = Watch()
    await watch.wait(DAY + 1, GONE)
    first = await watch.attester.encoded()
    await watch.wait(KEPT_SECONDS - 1, GONE)
    assert await watch.attester.encoded() is first
    await watch.wait(1, GONE)
    assert await watch.attester.encoded() is not first
