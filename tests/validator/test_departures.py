"""A miner that left the subnet is noticed, once it is certain, and its pieces are lost."""

from __future__ import annotations

from hippy.chain.protocol import Metagraph, Neuron
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.validator.departures import Departures
from hippy.validator.holdings import holders, lost_indices
from hippy.validator.log import scan_log
from tests.validator.world import HOME, NOW, N, committed


def neuron(uid: int, hotkey: PublicKey) -> Neuron:
    return Neuron(uid, hotkey, hotkey, None, False, 0, 0, 0.0)


def metagraph(block: int, *hotkeys: PublicKey) -> Metagraph:
    """A metagraph that shows us and these."""
    return Metagraph(block, 10, tuple(neuron(uid, key) for uid, key in enumerate((HOME.hotkey, *hotkeys))))


async def departures(database: Database) -> list[PublicKey]:
    records = await database.read(lambda reader: list(scan_log(reader)))
    return [PublicKey(record.departure.hotkey) for record in records if record.departure is not None]


async def holding_miners(database: Database) -> list[PublicKey]:
    return await database.read(lambda reader: list(holders(reader)))


async def test_a_miner_that_two_metagraphs_do_not_show_is_gone(database: Database) -> None:
    allocation = await committed(database)
    gone, *staying = await holding_miners(database)
    watch = Departures(HOME, database)
    await watch.look(metagraph(1, gone, *staying), NOW)
    await watch.look(metagraph(2, *staying), NOW)
    assert await departures(database) == []
    await watch.look(metagraph(3, *staying), NOW)
    assert await departures(database) == [gone]
    assert await holding_miners(database) == staying
    assert len(await database.read(lambda reader: lost_indices(reader, allocation.segment_id))) == 1
    await watch.look(metagraph(4, *staying), NOW)
    await watch.look(metagraph(5, *staying), NOW)
    assert await departures(database) == [gone]


async def test_one_metagraph_looked_at_twice_is_one(database: Database) -> None:
    await committed(database)
    watch = Departures(HOME, database)
    for _ in range(3):
        await watch.look(metagraph(2), NOW)
    assert await departures(database) == []


async def test_a_miner_that_is_shown_again_has_not_left(database: Database) -> None:
    await committed(database)
    gone, *staying = await holding_miners(database)
    watch = Departures(HOME, database)
    await watch.look(metagraph(2, *staying), NOW)
    await watch.look(metagraph(3, gone, *staying), NOW)
    await watch.look(metagraph(4, *staying), NOW)
    assert await departures(database) == []


async def test_a_metagraph_without_ourselves_proves_nothing(database: Database) -> None:
    await committed(database)
    watch = Departures(HOME, database)
    for block in range(1, 5):
        await watch.look(Metagraph(block, 10, ()), NOW)
    assert await departures(database) == []
    assert len(await holding_miners(database)) == N


async def test_marking_goes_on_after_a_restart(database: Database) -> None:
    await committed(database)
    miners = await holding_miners(database)
    first = Departures(HOME, database)
    await first.look(metagraph(2), NOW)
    await first.look(metagraph(3), NOW)
    assert sorted(await departures(database)) == miners
    await Departures(HOME, database).look(metagraph(3), NOW)
    assert await holding_miners(database) == []
