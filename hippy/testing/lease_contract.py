"""What every Database must do about leases, as tests: subclass LeaseContract and give it a ``database``.

See hippy.testing.kv_contract for how; it asks through the seam only (hippy.kv.Database). Time is an argument.
"""

from __future__ import annotations

import asyncio

import pytest

from hippy.errors import UsageError
from hippy.kv import Database
from hippy.testing.kv_contract import fill, keys_of, stored

ENTRIES = [b"q/%02d" % number for number in range(6)]
NOW = 1_000.0


async def leased(
    database: Database, holder: bytes = b"me", *, now: float = NOW, seconds: float = 10, limit: int = 2
) -> list[bytes]:
    """Return the keys of the entries that a call leases."""
    return [key for key, _ in await database.lease(b"q/", holder, now=now, seconds=seconds, limit=limit)]


class LeaseContract:
    """The tests. A subclass overrides the ``database`` fixture."""

    @pytest.fixture
    async def database(self) -> Database:
        """Return an empty database."""
        raise NotImplementedError

    async def test_entries_are_leased_in_the_order_of_their_keys_each_once(self, database: Database) -> None:
        await fill(database, [b"p/0", *reversed(ENTRIES), b"q0"])
        assert await database.lease(b"q/", b"me", now=NOW, seconds=10, limit=2) == stored(ENTRIES[:2])
        assert await leased(database, b"you", limit=3) == ENTRIES[2:5]
        assert await leased(database, b"me", limit=9) == ENTRIES[5:]
        assert await leased(database, b"you", limit=9) == []

    async def test_empty_queue_has_nothing_to_lease(self, database: Database) -> None:
        await fill(database, [b"p/0", b"r"])
        assert await leased(database) == []

    async def test_lease_that_ran_out_makes_its_entry_free(self, database: Database) -> None:
        await fill(database, ENTRIES)
        await leased(database, b"dead", seconds=10, limit=2)
        assert await leased(database, b"me", now=NOW + 9.9, limit=1) == ENTRIES[2:3]
        assert await leased(database, b"me", now=NOW + 10, limit=2) == ENTRIES[:2]

    async def test_renewed_lease_lasts(self, database: Database) -> None:
        await fill(database, ENTRIES)
        assert await leased(database, limit=2) == ENTRIES[:2]
        assert await database.renew(ENTRIES[1::-1], b"me", now=NOW + 9, seconds=10) == ENTRIES[1::-1]
        assert await leased(database, b"you", now=NOW + 18, limit=1) == ENTRIES[2:3]
        assert await leased(database, b"you", now=NOW + 19, limit=1) == ENTRIES[:1]

    async def test_lease_of_another_or_that_ran_out_cannot_be_renewed(self, database: Database) -> None:
        await fill(database, ENTRIES)
        await leased(database, b"me", limit=1)
        assert await database.renew(ENTRIES[:2], b"you", now=NOW, seconds=10) == []
        assert await database.renew(ENTRIES[:1], b"me", now=NOW + 10, seconds=10) == []
        assert await leased(database, b"you", now=NOW + 10, limit=1) == ENTRIES[:1]

    async def test_lease_that_was_given_back_is_free_at_once(self, database: Database) -> None:
        await fill(database, ENTRIES)
        await leased(database, limit=3)
        await database.unlease([ENTRIES[1], b"q/none"], b"me")
        assert await leased(database, b"you", limit=2) == [ENTRIES[1], ENTRIES[3]]

    async def test_nobody_gives_back_the_lease_of_another(self, database: Database) -> None:
        await fill(database, ENTRIES)
        await leased(database, b"me", limit=1)
        await database.unlease(ENTRIES, b"you")
        assert await leased(database, b"you", limit=1) == ENTRIES[1:2]

    async def test_transactions_neither_see_nor_heed_leases(self, database: Database) -> None:
        await fill(database, ENTRIES)
        await leased(database, b"me", limit=6)
        assert await keys_of(database) == ENTRIES
        await database.transact(lambda state: state.put(ENTRIES[0], b"changed"))
        await database.transact(lambda state: state.delete(ENTRIES[1]))
        assert await database.lease(b"q/", b"you", now=NOW + 10, seconds=1, limit=2) == [
            (ENTRIES[0], b"changed"),
            (ENTRIES[2], ENTRIES[2] + b"!"),
        ]

    async def test_entry_that_was_done_and_comes_again_is_free_when_its_lease_ran_out(self, database: Database) -> None:
        await fill(database, ENTRIES[:1])
        await leased(database, b"me")
        await database.transact(lambda state: state.delete(ENTRIES[0]))
        await fill(database, ENTRIES[:1])
        assert await leased(database, b"you", now=NOW + 10) == ENTRIES[:1]

    async def test_workers_that_ask_at_once_share_the_queue_without_overlap(self, database: Database) -> None:
        entries = [b"q/%03d" % number for number in range(40)]
        await fill(database, entries)

        async def work(holder: bytes) -> list[bytes]:
            done = list[bytes]()
            while taken := await leased(database, holder, limit=3):
                done += taken
            return done

        shares = await asyncio.gather(*(work(b"worker %d" % number) for number in range(4)))
        rest = await leased(database, b"last", limit=40)  # who asks at once may be passed over
        assert sorted(rest + [key for share in shares for key in share]) == entries

    @pytest.mark.parametrize(
        ("holder", "seconds", "limit"), [(b"", 1, 1), (b"x" * 65, 1, 1), (b"x", 0, 1), (b"x", 1, 0)]
    )
    async def test_lease_without_holder_time_or_number_is_refused(
        self, database: Database, holder: bytes, seconds: float, limit: int
    ) -> None:
        with pytest.raises(UsageError):
            await leased(database, holder, seconds=seconds, limit=limit)
