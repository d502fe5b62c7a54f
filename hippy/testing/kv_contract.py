"""What every Database must do, as tests: subclass DatabaseContract and give it a ``database``.

It asks only through the seam (hippy.kv.Database) and holds for every implementation and fake. What becomes of a
database whose disk is full is :class:`RecoveryContract`: it needs a ``node``, whose disk the tests may fill and which
they may start again. What is on disk after a crash is tested beside the implementation that has a disk.

::

    class TestMyDatabase(DatabaseContract):
        @pytest.fixture
        async def database(self) -> AsyncIterator[Database]:
            async with my_database() as database:
                yield database

Needs pytest-asyncio in auto mode. For failures that show their values, the outermost conftest.py calls
``pytest.register_assert_rewrite("hippy.testing")``.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Final, Protocol

import pytest

from hippy.errors import ConflictError, NoSpaceError
from hippy.kv import Database, Reader, Transaction

Rows = list[tuple[bytes, bytes]]

KEYS: Final = [
    b"",
    b"\x00",
    b"a",
    b"a\x00",
    b"a\x00\xff",
    b"aa",
    b"a\xff",
    b"a\xff\xff",
    b"b",
    b"\xff",
    b"\xff\xff\x01",
]
"""In bytewise order, with every kind of edge a prefix can have."""

WRITERS: Final = 100

LONG: Final = bytes(range(256)) * 32
"""As long as the longest name of an object: more than a page of most stores' indexes."""

MANY: Final = 1_500
"""Rows of a scan that no implementation fetches at once."""


async def fill(database: Database, keys: list[bytes]) -> None:
    """Store each key in the given order, with itself and a mark as value."""

    def work(state: Transaction) -> None:
        for key in keys:
            state.put(key, key + b"!")

    await database.transact(work)


async def rows(database: Database, prefix: bytes = b"", after: bytes | None = None) -> Rows:
    """Return what a scan yields."""
    return await database.read(lambda state: list(state.scan(prefix, after)))


def stored(keys: list[bytes]) -> Rows:
    """Return the rows that :func:`fill` makes of ``keys``."""
    return [(key, key + b"!") for key in keys]


def increment(state: Transaction) -> int:
    """Add one to a counter and return what it was."""
    count = int(state.get(b"count") or b"0")
    state.put(b"count", b"%d" % (count + 1))
    return count


class DatabaseContract:
    """The tests. A subclass overrides the ``database`` fixture."""

    @pytest.fixture
    async def database(self) -> Database:
        """Return an empty database."""
        raise NotImplementedError

    async def test_missing_key_is_none_and_an_empty_value_is_not(self, database: Database) -> None:
        await database.transact(lambda state: state.put(b"empty", b""))
        assert await database.read(lambda state: (state.get(b"empty"), state.get(b"none"))) == (b"", None)

    async def test_read_after_a_transaction_sees_it(self, database: Database) -> None:
        await database.transact(lambda state: state.put(b"key", b"old"))
        await database.transact(lambda state: state.put(b"key", b"new"))
        assert await database.read(lambda state: state.get(b"key")) == b"new"
        await database.transact(lambda state: state.delete(b"key"))
        assert await database.read(lambda state: state.get(b"key")) is None

    async def test_transaction_returns_what_its_function_returns(self, database: Database) -> None:
        assert await database.transact(lambda _: 7) == 7
        assert await database.read(lambda _: 8) == 8

    async def test_deleting_what_is_not_there_is_no_error(self, database: Database) -> None:
        await database.transact(lambda state: state.delete(b"none"))
        assert await rows(database) == []

    async def test_scan_yields_keys_bytewise_whatever_the_order_of_writing(self, database: Database) -> None:
        shuffled = random.Random(1).sample(KEYS, len(KEYS))  # noqa: S311 - an order, no secret
        await fill(database, shuffled)
        assert await rows(database) == stored(KEYS)

    @pytest.mark.parametrize("prefix", [b"", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"\xff", b"\xff\xff", b"c"])
    async def test_scan_yields_exactly_what_begins_with_its_prefix(self, database: Database, prefix: bytes) -> None:
        await fill(database, KEYS)
        assert await rows(database, prefix) == stored([key for key in KEYS if key.startswith(prefix)])

    @pytest.mark.parametrize("after", [b"", b"\x00", b"a", b"a\x00\x01", b"a\xff", b"b", b"\xff\xff\xff"])
    @pytest.mark.parametrize("prefix", [b"", b"a", b"a\xff", b"\xff"])
    async def test_scan_begins_behind_the_key_after(self, database: Database, prefix: bytes, after: bytes) -> None:
        await fill(database, KEYS)
        expected = stored([key for key in KEYS if key.startswith(prefix) and key > after])
        assert await rows(database, prefix, after) == expected
        assert await database.transact(lambda state: list(state.scan(prefix, after))) == expected

    async def test_transaction_sees_its_own_writes_and_deletions(self, database: Database) -> None:
        await fill(database, [b"p1", b"p2", b"p3", b"p5", b"q"])

        def work(state: Transaction) -> tuple[Rows, Rows, list[bytes | None]]:
            state.put(b"p0", b"first")
            state.put(b"p2", b"changed")
            state.delete(b"p3")
            state.put(b"p4", b"gone again")
            state.delete(b"p4")
            state.put(b"p6", b"last")
            gets = [state.get(key) for key in (b"p1", b"p2", b"p3", b"p4", b"p6")]
            return list(state.scan(b"p")), list(state.scan(b"p", b"p2")), gets

        below, behind, gets = await database.transact(work)
        expected = [(b"p0", b"first"), (b"p1", b"p1!"), (b"p2", b"changed"), (b"p5", b"p5!"), (b"p6", b"last")]
        assert below == expected
        assert behind == expected[3:]
        assert gets == [b"p1!", b"changed", None, None, b"last"]
        assert await rows(database, b"p") == expected

    async def test_scan_shows_the_state_in_which_it_began(self, database: Database) -> None:
        await fill(database, [b"p1", b"p2", b"p3"])

        def work(state: Transaction) -> Rows:
            seen = []
            for key, value in state.scan(b"p"):
                seen.append((key, value))
                state.delete(b"p2")
                state.put(b"p3", b"new")
                state.put(b"p4", b"new")
            return seen

        assert await database.transact(work) == stored([b"p1", b"p2", b"p3"])
        assert await rows(database) == [(b"p1", b"p1!"), (b"p3", b"new"), (b"p4", b"new")]

    async def test_keys_of_any_length_are_kept_in_one_order(self, database: Database) -> None:
        keys = [
            b"a",
            LONG[:2_048],
            LONG[:2_049],
            LONG + b"a",
            LONG + b"a\x00",
            LONG + b"b",
            LONG[:2_048] + b"\xff",
            b"b",
        ]
        await fill(database, random.Random(2).sample(keys, len(keys)))  # noqa: S311 - an order, no secret
        ordered = sorted(keys)
        assert await rows(database) == stored(ordered)
        assert await rows(database, LONG) == stored([key for key in ordered if key.startswith(LONG)])
        assert await rows(database, b"", LONG + b"a") == stored([key for key in ordered if key > LONG + b"a"])
        await database.transact(lambda state: state.put(LONG + b"a", b"new"))
        await database.transact(lambda state: state.delete(LONG + b"b"))
        assert await database.read(lambda state: [state.get(LONG + end) for end in (b"a", b"b")]) == [b"new", None]
        assert await database.transact(lambda state: state.get(LONG + b"a\x00")) == LONG + b"a\x00!"

    async def test_long_scan_yields_every_row_once(self, database: Database) -> None:
        keys = [b"m/%04d" % number for number in range(MANY)]
        await fill(database, keys)
        assert await keys_of(database) == keys
        assert await database.transact(lambda state: list(state.scan(b"m/", keys[7]))) == stored(keys[8:])

    async def test_random_transactions_agree_with_a_dictionary(self, database: Database) -> None:
        chance = random.Random(7)  # noqa: S311 - a replayable run, no secret
        model: dict[bytes, bytes] = {}

        def work(state: Transaction) -> Rows:
            for _ in range(chance.randrange(12)):
                key = chance.choice(KEYS)
                if chance.random() < 0.4:
                    state.delete(key)
                    model.pop(key, None)
                else:
                    model[key] = chance.randbytes(3)
                    state.put(key, model[key])
            return list(state.scan(b"a"))

        for _ in range(50):
            within = await database.transact(work)
            assert within == sorted(row for row in model.items() if row[0].startswith(b"a"))
            assert await rows(database) == sorted(model.items())

    async def test_raising_function_leaves_no_trace(self, database: Database) -> None:
        await fill(database, [b"kept", b"deleted"])

        def work(state: Transaction) -> None:
            state.put(b"kept", b"overwritten")
            state.delete(b"deleted")
            state.put(b"new", b"")
            raise ConflictError("on purpose")

        with pytest.raises(ConflictError, match="on purpose"):
            await database.transact(work)
        assert await rows(database) == stored([b"deleted", b"kept"])

    async def test_neighbour_of_a_raising_function_is_stored(self, database: Database) -> None:
        def fails(state: Transaction) -> None:
            state.put(b"bad", b"")
            raise ConflictError("on purpose")

        outcomes = await asyncio.gather(
            database.transact(increment), database.transact(fails), database.transact(increment), return_exceptions=True
        )
        assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [0, ConflictError, 1]
        assert await rows(database) == [(b"count", b"2")]

    async def test_concurrent_transactions_run_one_after_the_other(self, database: Database) -> None:
        before = await asyncio.gather(*(database.transact(increment) for _ in range(WRITERS)))
        assert sorted(before) == list(range(WRITERS))
        assert await database.read(lambda state: state.get(b"count")) == b"%d" % WRITERS

    async def test_what_a_read_raises_is_raised(self, database: Database) -> None:
        def work(_: Reader) -> None:
            raise ConflictError("on purpose")

        with pytest.raises(ConflictError):
            await database.read(work)


VALUE: Final = bytes(64 * 1024)
"""Longer than any rest of a block that a full filesystem may still have for a log."""

REFUSED_MIN: Final = 4


class FillableNode(Protocol):
    """A database on a disk of its own, under a test's control. It opens again without a wait between attempts."""

    @property
    def database(self) -> Database:
        """Return the database of the run."""

    def fill(self) -> None:
        """Leave no space on the disk."""

    def free(self) -> None:
        """Take back what :meth:`fill` wrote."""

    async def restart(self) -> None:
        """End the run in order and begin another."""


async def write_until_full(database: Database) -> tuple[list[bytes], list[bytes]]:
    """Write one long row after the other until some were refused; returns the keys taken and the keys refused."""
    taken, refused = list[bytes](), list[bytes]()
    for number in range(2_000):
        key = b"row/%04d" % number
        try:
            await database.transact(partial(_put_long, key=key))
            taken.append(key)
        except NoSpaceError:
            refused.append(key)
            if len(refused) >= REFUSED_MIN:
                break
    return taken, refused


def _put_long(state: Transaction, *, key: bytes) -> None:
    state.put(key, VALUE)


async def keys_of(database: Database) -> list[bytes]:
    """Return all keys."""
    return [key for key, _ in await rows(database)]


class RecoveryContract:
    """The tests of a full disk. A subclass overrides the ``node`` fixture."""

    @pytest.fixture
    async def node(self) -> FillableNode:
        """Return a node with an empty database."""
        raise NotImplementedError

    async def test_full_disk_is_said_to_be_full_and_takes_writes_again_without_a_restart(
        self, node: FillableNode
    ) -> None:
        for _ in range(2):
            node.fill()
            _, refused = await write_until_full(node.database)
            assert len(refused) == REFUSED_MIN
            node.free()
            await fill(node.database, [b"after"])
            assert await rows(node.database, b"after") == stored([b"after"])

    async def test_what_was_acknowledged_is_read_while_the_disk_is_full_and_after(self, node: FillableNode) -> None:
        await fill(node.database, [b"a", b"b"])
        node.fill()
        taken, _ = await write_until_full(node.database)
        assert await keys_of(node.database) == [b"a", b"b", *taken]
        node.free()
        await fill(node.database, [b"z"])
        assert await keys_of(node.database) == [b"a", b"b", *taken, b"z"]
        await node.restart()
        assert await keys_of(node.database) == [b"a", b"b", *taken, b"z"]

    async def test_what_was_refused_never_appears(self, node: FillableNode) -> None:
        node.fill()
        taken, refused = await write_until_full(node.database)
        assert refused
        node.free()
        await node.restart()
        assert await keys_of(node.database) == taken
        await fill(node.database, [b"z"])
        assert await keys_of(node.database) == [*taken, b"z"]

    async def test_transaction_that_writes_nothing_is_answered_on_a_full_disk(self, node: FillableNode) -> None:
        await fill(node.database, [b"a"])
        node.fill()
        await write_until_full(node.database)
        assert await node.database.transact(lambda state: state.get(b"a")) == b"a!"

    async def test_refused_transaction_is_no_state_for_its_neighbours(self, node: FillableNode) -> None:
        node.fill()
        await write_until_full(node.database)

        def counted(state: Transaction) -> int:
            state.put(b"value", VALUE)
            return increment(state)

        outcomes = await asyncio.gather(*(node.database.transact(counted) for _ in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [NoSpaceError] * 5
        node.free()
        assert await node.database.transact(increment) == 0
