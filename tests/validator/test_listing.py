"""Listings against a slow reference: every page, every depth, and no walk through what is folded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import UsageError
from hippy.ids import PublicKey
from hippy.kv import Database, Overlay, Reader, Transaction
from hippy.validator.listing import list_buckets, list_rows
from hippy.validator.tables import LIVE, StoredRow, name_key
from hippy.wire.object import ListAnswer, ListRequest
from tests.validator.world import ACCOUNT, NETWORK, STRANGER, component, row

BUCKET = component("bucket")
Names = list[tuple[bytes, ...]]


class Empty:
    """A reader of nothing."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class Counting:
    """A reader that counts the entries it yields."""

    def __init__(self, below: Reader) -> None:
        self._below = below
        self.entries = 0

    def get(self, key: bytes) -> bytes | None:
        return self._below.get(key)

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for entry in self._below.scan(prefix, after):
            self.entries += 1
            yield entry


TEMPLATE = row("template")


def put(
    txn: Transaction, name: tuple[bytes, ...], *, account: PublicKey = ACCOUNT.public_key, bucket: bytes = BUCKET
) -> None:
    """Store a row as it would be after checks, which are not at stake here."""
    stored = TEMPLATE.model_copy(update={"account": account, "bucket": bucket, "name": name})
    key = name_key(account, bucket, name)
    txn.put(LIVE + key, StoredRow(stored.id(NETWORK), stored).encode())


def ask(
    depth: str, prefix: tuple[bytes, ...] = (), after: tuple[bytes, ...] | None = None, limit: int = 1000
) -> ListRequest:
    return ListRequest.model_validate(
        {
            "account": ACCOUNT.public_key,
            "bucket": BUCKET,
            "prefix": prefix,
            "depth": depth,
            "after": after,
            "limit": limit,
        }
    )


def pages(reader: Reader, depth: str, prefix: tuple[bytes, ...], limit: int) -> list[ListAnswer]:
    """Return all pages, as a client asks for them."""
    answers = [list_rows(reader, ask(depth, prefix, None, limit))]
    while answers[-1].after is not None:
        answers.append(list_rows(reader, ask(depth, prefix, answers[-1].after, limit)))
    return answers


def sort_key(name: tuple[bytes, ...]) -> bytes:
    return b"".join(bytes([len(part) // 16]) + part for part in name)


def reference(names: Names, depth: str, prefix: tuple[bytes, ...]) -> tuple[Names, list[bytes]]:
    below = sorted((n for n in set(names) if n[: len(prefix)] == prefix and n != prefix), key=sort_key)
    if depth == "all":
        return below, []
    deeper = {name[len(prefix)] for name in below if len(name) > len(prefix) + 1}
    return [n for n in below if len(n) == len(prefix) + 1], sorted(deeper, key=lambda part: sort_key((part,)))


PARTS = st.sampled_from([component("a"), component("b"), b"c" * 48, b"\xff" * 32, b"\xff" * 256, bytes(32)])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=4).map(tuple), max_size=30)


@given(NAMES, st.lists(PARTS, max_size=2).map(tuple), st.sampled_from(["one", "all"]), st.integers(1, 7))
def test_pages_together_are_what_the_reference_lists(
    names: Names, prefix: tuple[bytes, ...], depth: str, limit: int
) -> None:
    txn = Overlay(Empty())
    for name in names:
        put(txn, name)
    answers = pages(txn, depth, prefix, limit)
    rows, prefixes = reference(names, depth, prefix)
    assert [each.name for answer in answers for each in answer.rows] == rows
    assert [each for answer in answers for each in answer.prefixes] == prefixes
    assert all(len(answer.rows) + len(answer.prefixes) <= limit + 1 for answer in answers)
    assert all(answer.rows or answer.prefixes for answer in answers[:-1])


async def test_folder_of_thousands_is_folded_by_seeking(database: Database) -> None:
    def fill(txn: Transaction) -> None:
        for folder in "abc":
            for number in range(1200):
                put(txn, (component(folder), component(f"{number:04}"), component("x")))
        put(txn, (component("b"),))

    await database.transact(fill)
    answer = await database.read(lambda reader: list_rows(reader, ask("one")))
    assert answer.prefixes == tuple(component(folder) for folder in "abc")
    assert [each.name for each in answer.rows] == [(component("b"),)]
    assert await database.read(lambda reader: entries_read(reader, ask("one"))) == 4
    inside = await database.read(lambda reader: pages(reader, "one", (component("b"),), 1000))
    assert [len(page.prefixes) for page in inside] == [1000, 200]
    everything = await database.read(lambda reader: pages(reader, "all", (), 1000))
    assert [len(page.rows) for page in everything] == [1000, 1000, 1000, 601]


def entries_read(reader: Reader, request: ListRequest) -> int:
    counting = Counting(reader)
    list_rows(counting, request)
    return counting.entries


def test_row_and_folder_of_one_name_come_on_one_page() -> None:
    txn = Overlay(Empty())
    for name in (("a",), ("a", "x"), ("b",)):
        put(txn, tuple(component(part) for part in name))
    first, second = pages(txn, "one", (), 1)
    assert ([each.name for each in first.rows], first.prefixes) == ([(component("a"),)], (component("a"),))
    assert [each.name for each in second.rows] == [(component("b"),)]


@pytest.mark.parametrize("after", [(), (component("p"),), (component("q"), component("x"))])
def test_after_from_another_listing_is_refused(after: tuple[bytes, ...]) -> None:
    with pytest.raises(UsageError):
        list_rows(Overlay(Empty()), ask("all", (component("p"),), after))


def test_other_accounts_and_buckets_are_not_listed() -> None:
    txn = Overlay(Empty())
    put(txn, (component("theirs"),), account=STRANGER.public_key)
    put(txn, (component("elsewhere"),), bucket=component("bucket2"))
    assert list_rows(txn, ask("all")) == ListAnswer(rows=(), prefixes=())


async def test_buckets_are_found_by_seeking(database: Database) -> None:
    def fill(txn: Transaction) -> None:
        for bucket in ("photos", "logs"):
            for number in range(300):
                put(txn, (component(str(number)),), bucket=component(bucket))
        put(txn, (component("x"),), account=STRANGER.public_key, bucket=component("theirs"))

    await database.transact(fill)

    def work(reader: Reader) -> tuple[tuple[bytes, ...], int]:
        counting = Counting(reader)
        return list_buckets(counting, ACCOUNT.public_key), counting.entries

    assert await database.read(work) == ((component("logs"), component("photos")), 2)


def test_heavy_rows_end_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    txn, size = Overlay(Empty()), len(StoredRow(TEMPLATE.id(NETWORK), TEMPLATE).encode())
    for number in range(10):
        put(txn, (component(str(number)),))
    monkeypatch.setattr("hippy.validator.listing.PAGE_BYTES_MAX", 3 * size)
    assert [len(page.rows) for page in pages(txn, "all", (), 1000)] == [3, 3, 3, 1]
    assert [len(page.rows) for page in pages(txn, "one", (), 1000)] == [3, 3, 3, 1]
