"""A miner that left the subnet is noticed, once it is certain, and its pieces are lost."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hippy.chain.protocol import Metagraph, Neuron
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.validator.departures import CERTAIN_BLOCKS, Departures
from hippy.validator.holdings import depart, holders, lost_indices
from hippy.validator.log import scan_log
from hippy.validator.tables import Allocation
from tests.validator.world import HOME, NOW, N, committed

REGISTERED = 5
"""The block in which everybody registered, unless a test says otherwise."""

LATER = REGISTERED + 1_000


def neuron(uid: int, hotkey: PublicKey, registered_block: int) -> Neuron:
    return Neuron(uid, hotkey, hotkey, None, False, 0, registered_block, 0.0)


def metagraph(block: int, hotkeys: Iterable[PublicKey], anew: dict[PublicKey, int] | None = None) -> Metagraph:
    """A metagraph that shows us and these; ``anew`` says who is registered since another block."""
    since = anew or {}
    shown = (HOME.hotkey, *hotkeys)
    return Metagraph(block, 10, tuple(neuron(uid, key, since.get(key, REGISTERED)) for uid, key in enumerate(shown)))


async def departures(database: Database) -> list[tuple[PublicKey, int]]:
    """Who left by the log, and by which block's metagraph."""
    entries = await database.read(lambda reader: list(scan_log(reader)))
    found = [entry.departure for entry in entries if entry.departure is not None]
    return [(PublicKey(departure.hotkey), departure.block) for departure in found]


async def holding_miners(database: Database) -> list[PublicKey]:
    return await database.read(lambda reader: list(holders(reader)))


async def lost(database: Database, allocation: Allocation) -> int:
    return len(await database.read(lambda reader: lost_indices(reader, allocation.segment_id)))


class TestMissing:
    async def test_miner_that_metagraphs_far_enough_apart_do_not_show_is_gone(self, database: Database) -> None:
        allocation = await committed(database)
        gone, *staying = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER - 1, [gone, *staying]), NOW)
        for block in (LATER, LATER + 1, LATER + CERTAIN_BLOCKS - 1):
            await watch.look(metagraph(block, staying), NOW)
            assert await departures(database) == []
        await watch.look(metagraph(LATER + CERTAIN_BLOCKS, staying), NOW)
        assert await departures(database) == [(gone, LATER + CERTAIN_BLOCKS)]
        assert await holding_miners(database) == staying
        assert await lost(database, allocation) == 1
        for times in range(2, 5):
            await watch.look(metagraph(LATER + times * CERTAIN_BLOCKS, staying), NOW)
        assert len(await departures(database)) == 1

    async def test_one_metagraph_looked_at_twice_is_one(self, database: Database) -> None:
        await committed(database)
        watch = Departures(HOME, database)
        for _ in range(3):
            await watch.look(metagraph(LATER, []), NOW)
        assert await departures(database) == []

    async def test_miner_that_is_shown_in_between_has_not_left(self, database: Database) -> None:
        await committed(database)
        gone, *staying = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER, staying), NOW)
        await watch.look(metagraph(LATER + 1, [gone, *staying]), NOW)
        await watch.look(metagraph(LATER + CERTAIN_BLOCKS, staying), NOW)
        await watch.look(metagraph(LATER + 2 * CERTAIN_BLOCKS - 1, staying), NOW)
        assert await departures(database) == []

    async def test_metagraph_without_ourselves_proves_nothing(self, database: Database) -> None:
        await committed(database)
        watch = Departures(HOME, database)
        for times in range(4):
            await watch.look(Metagraph(LATER + times * CERTAIN_BLOCKS, 10, ()), NOW)
        assert await departures(database) == []
        assert len(await holding_miners(database)) == N

    async def test_metagraph_older_than_the_last_proves_nothing(self, database: Database) -> None:
        await committed(database)
        miners = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER, miners), NOW)
        for block in (LATER - 2 * CERTAIN_BLOCKS, LATER - CERTAIN_BLOCKS):
            await watch.look(metagraph(block, []), NOW)
        assert await departures(database) == []

    async def test_marking_goes_on_after_a_restart(self, database: Database) -> None:
        await committed(database)
        gone, *staying = await holding_miners(database)
        await database.transact(lambda txn: depart(txn, HOME, gone, LATER, NOW))
        await Departures(HOME, database).look(Metagraph(0, 10, ()), NOW)
        assert await holding_miners(database) == staying


class TestRegisteredAnew:
    async def test_miner_that_left_and_came_back_between_two_looks_has_lost_its_pieces(
        self, database: Database
    ) -> None:
        allocation = await committed(database)
        back, *staying = await holding_miners(database)
        await Departures(HOME, database).look(metagraph(LATER, [back, *staying]), NOW)
        watch = Departures(HOME, database)  # a restart changes nothing
        certain = LATER + 1 + CERTAIN_BLOCKS
        await watch.look(metagraph(certain - 1, [back, *staying], {back: LATER + 1}), NOW)
        assert await departures(database) == []
        await watch.look(metagraph(certain, [back, *staying], {back: LATER + 1}), NOW)
        assert await departures(database) == [(back, certain)]
        assert await lost(database, allocation) == 1

    async def test_what_it_gets_after_its_departure_it_keeps(self, database: Database) -> None:
        await committed(database)
        back, *staying = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER, [back, *staying]), NOW)
        for times in range(1, 4):
            if times == 2:
                later = await committed(database, 1)
            shown = metagraph(LATER + 1 + times * CERTAIN_BLOCKS, [back, *staying], {back: LATER + 1})
            await watch.look(shown, NOW)
        assert len(await departures(database)) == 1
        assert await lost(database, later) == 0
        assert back in await holding_miners(database)

    async def test_first_sight_is_no_departure(self, database: Database) -> None:
        await committed(database)
        miners = await holding_miners(database)
        watch = Departures(HOME, database)
        for times in range(3):
            await watch.look(metagraph(LATER + times * CERTAIN_BLOCKS, miners, dict.fromkeys(miners, LATER)), NOW)
        assert await departures(database) == []

    async def test_miner_that_came_back_after_it_was_found_gone_departs_once(self, database: Database) -> None:
        await committed(database)
        back, *staying = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER - 1, [back, *staying]), NOW)
        for block in (LATER, LATER + CERTAIN_BLOCKS):
            await watch.look(metagraph(block, staying), NOW)
        anew = LATER + CERTAIN_BLOCKS + 1
        await watch.look(metagraph(anew, [back, *staying], {back: anew}), NOW)
        later = await committed(database, 1)
        await watch.look(metagraph(anew + 2 * CERTAIN_BLOCKS, [back, *staying], {back: anew}), NOW)
        assert await departures(database) == [(back, LATER + CERTAIN_BLOCKS)]
        assert await lost(database, later) == 0

    async def test_miner_that_held_nothing_when_it_left_keeps_what_it_gets_when_back(self, database: Database) -> None:
        allocation = await committed(database)
        back, *staying = await holding_miners(database)
        stranger = PublicKey(b"s" * 32)
        watch = Departures(HOME, database)
        await watch.look(metagraph(LATER - 1, [back, *staying, stranger]), NOW)
        for block in (LATER, LATER + CERTAIN_BLOCKS):
            await watch.look(metagraph(block, [back, *staying]), NOW)
        anew = LATER + CERTAIN_BLOCKS + 1
        for block in (anew, anew + CERTAIN_BLOCKS):
            await watch.look(metagraph(block, [back, *staying, stranger], {stranger: anew}), NOW)
        assert await departures(database) == []
        assert await lost(database, allocation) == 0

    @pytest.mark.parametrize("since", [REGISTERED - 1, REGISTERED + 1, REGISTERED + CERTAIN_BLOCKS - 1])
    async def test_registration_whose_first_block_was_taken_back_is_one(self, database: Database, since: int) -> None:
        await committed(database)
        miners = await holding_miners(database)
        watch = Departures(HOME, database)
        await watch.look(metagraph(REGISTERED, miners), NOW)
        for block in (LATER, LATER + CERTAIN_BLOCKS):
            await watch.look(metagraph(block, miners, dict.fromkeys(miners, since)), NOW)
        assert await departures(database) == []

    async def test_chain_node_that_was_behind_takes_nothing_back(self, database: Database) -> None:
        allocation = await committed(database)
        miners = await holding_miners(database)
        now = metagraph(LATER + CERTAIN_BLOCKS, miners, dict.fromkeys(miners, LATER))
        await Departures(HOME, database).look(now, NOW)
        watch = Departures(HOME, database)  # after a restart nobody remembers the last block
        await watch.look(metagraph(LATER - 1, miners), NOW)
        await watch.look(now, NOW)
        assert await departures(database) == []
        assert await lost(database, allocation) == 0
