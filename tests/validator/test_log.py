"""The log: what is appended verifies, what is altered, left out or resigned does not; strangers see their part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hippy.errors import AuthError, IntegrityError
from hippy.ids import Root, SegmentId
from hippy.kv import Database, open_database
from hippy.validator import log
from hippy.validator.log import (
    BEGINNING,
    Body,
    append,
    encode_page,
    position,
    public,
    read_head,
    read_page,
    scan_log,
    verify_chain,
    verify_head,
)
from hippy.validator.tables import claim
from hippy.wire.log import LOG_PAGE_MAX, AllocationClosed, Departure, LogEntry, SegmentReleased
from hippy.wire.object import BucketRow
from tests.validator.world import HOME, MINERS, NETWORK, NOW, STRANGER, TERMS, row, unsigned_segment

CLOSED = AllocationClosed(segment_id=SegmentId(b"s" * 32), upload_by=NOW)
DEPARTED = Departure(hotkey=MINERS[0].public_key, block=7)
SEGMENT = unsigned_segment(1, {0: MINERS[0].public_key}, [Root(b"1" * 32), Root(b"2" * 32)])
RELEASED = SegmentReleased(segment_id=SEGMENT.record.segment_id, reason="lapsed")
BUCKET = BucketRow(account=TERMS.account, bucket=b"b" * 32, action="create", time=NOW)
BODIES: list[Body] = [TERMS, CLOSED, SEGMENT, row("a"), DEPARTED, row("b"), RELEASED, BUCKET]
KINDS = ["account", "closed", "segment", "row", "departure", "row", "released", "bucket"]


async def filled(database: Database) -> list[LogEntry]:
    await database.transact(lambda txn: append(txn, HOME, BODIES[:2], NOW))
    await database.transact(lambda txn: append(txn, HOME, BODIES[2:], NOW + 1))
    return await database.read(lambda reader: list(scan_log(reader)))


def altered(entry: LogEntry, **change: object) -> LogEntry:
    """The entry with another record."""
    return entry.model_copy(update={"record": entry.record.model_copy(update=change)})


async def test_appended_records_verify_up_to_the_signed_head(database: Database) -> None:
    entries = await filled(database)
    end = verify_chain(entries, NETWORK)
    head = await database.read(read_head)
    assert head is not None
    verify_head(head, end, HOME.hotkey, NETWORK)
    assert [entry.record.kind for entry in entries] == KINDS
    assert [entry.record.time for entry in entries] == [NOW] * 2 + [NOW + 1] * 6
    assert (end.seq, head.netuid) == (8, HOME.netuid)


async def test_entries_come_back_with_all_their_bodies(database: Database) -> None:
    one, two, three, four, five, _, seven, eight = await filled(database)
    assert (one.account, two.closed, four.row, five.departure) == (TERMS, CLOSED, BODIES[3], DEPARTED)
    assert (seven.released, eight.bucket) == (RELEASED, BUCKET)
    assert (three.segment, three.envelopes) == (SEGMENT.record, SEGMENT.envelopes)
    assert three.record.envelopes_id == SEGMENT.envelopes.id(NETWORK)


async def test_follower_verifies_only_what_is_new(database: Database) -> None:
    entries = await filled(database)
    middle = verify_chain(entries[:2], NETWORK)
    rest = await database.read(lambda reader: list(scan_log(reader, after_seq=2)))
    assert rest == entries[2:]
    assert verify_chain(rest, NETWORK, after=middle) == verify_chain(entries, NETWORK)


async def test_altered_record_is_caught(database: Database) -> None:
    entries = await filled(database)
    head = await database.read(read_head)
    assert head is not None
    for at, entry in enumerate(entries):
        chain = [*entries[:at], altered(entry, time=1), *entries[at + 1 :]]
        with pytest.raises(IntegrityError):
            verify_head(head, verify_chain(chain, NETWORK), HOME.hotkey, NETWORK)


async def test_missing_or_swapped_record_is_caught(database: Database) -> None:
    one, two, three, *_ = await filled(database)
    for entries in ([two, three], [one, three], [one, three, two]):
        with pytest.raises(IntegrityError, match="does not follow"):
            verify_chain(entries, NETWORK)


@pytest.mark.parametrize(
    ("at", "change", "error"),
    [
        (0, {"row": BODIES[3]}, "another kind"),
        (0, {"envelopes": SEGMENT.envelopes}, "other envelopes"),
        (0, {"account": TERMS.model_copy(update={"quota_bytes": 1})}, "another body"),
        (1, {"closed": None}, "lacks its body"),
        (1, {"closed": CLOSED.model_copy(update={"upload_by": 1})}, "another body"),
        (1, {"departure": DEPARTED}, "another kind"),
        (2, {"segment": None}, "lacks its body"),
        (2, {"segment": SEGMENT.record.model_copy(update={"holdings": ()})}, "another body"),
        (2, {"envelopes": SEGMENT.envelopes.model_copy(update={"envelopes": ()})}, "other envelopes"),
        (3, {"row": BODIES[5]}, "another body"),
        (4, {"departure": None}, "lacks its body"),
        (4, {"departure": None, "account": TERMS}, "another kind"),
    ],
)
async def test_withheld_or_swapped_body_is_caught(
    database: Database, at: int, change: dict[str, Any], error: str
) -> None:
    entries = await filled(database)
    verify_chain(entries, NETWORK)
    entries[at] = entries[at].model_copy(update=change)
    with pytest.raises(IntegrityError, match=f"record {at + 1} .*{error}"):
        verify_chain(entries, NETWORK)


async def test_record_of_another_kind_than_its_body_is_caught(database: Database) -> None:
    entries = await filled(database)
    for at, kind in ((0, "row"), (1, "loss"), (2, "closed"), (4, "segment")):
        with pytest.raises(IntegrityError, match="kind"):
            verify_chain([*entries[:at], altered(entries[at], kind=kind)], NETWORK)


async def test_segment_without_envelopes_and_others_with_are_caught(database: Database) -> None:
    entries = await filled(database)
    for at, name in ((2, None), (1, entries[2].record.envelopes_id)):
        with pytest.raises(IntegrityError, match="envelopes"):
            verify_chain([*entries[:at], altered(entries[at], envelopes_id=name)], NETWORK)


async def test_head_signed_by_another_is_caught(database: Database) -> None:
    end = verify_chain(await filled(database), NETWORK)
    head = await database.read(read_head)
    assert head is not None
    with pytest.raises(AuthError):
        verify_head(head.signed(STRANGER, NETWORK), end, HOME.hotkey, NETWORK)


async def test_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with open_database(tmp_path / "registry") as database:
        await filled(database)
    async with open_database(tmp_path / "registry") as database:
        assert await database.transact(lambda txn: append(txn, HOME, [TERMS], NOW)) == 9
        assert verify_chain(await database.read(lambda reader: list(scan_log(reader))), NETWORK).seq == 9


async def test_appending_nothing_writes_nothing(database: Database) -> None:
    assert await database.transact(lambda txn: append(txn, HOME, [], NOW)) == 0
    assert await database.read(read_head) is None
    assert await database.read(position) == BEGINNING


class TestPage:
    async def test_private_bodies_are_left_out_and_the_page_still_verifies(self, database: Database) -> None:
        entries = await filled(database)  # private ones at the beginning, in the middle and at the end
        page = await database.read(lambda reader: read_page(reader, 0))
        assert page.entries == tuple(map(public, entries))
        shown = [[kind for kind in log.KINDS if getattr(entry, kind) is not None] for entry in page.entries]
        assert shown == [[], ["closed"], ["segment"], [], ["departure"], [], ["released"], []]
        assert [entry.envelopes for entry in page.entries] == [None] * 8
        assert page.head is not None
        verify_head(page.head, verify_chain(page.entries, NETWORK), HOME.hotkey, NETWORK)

    async def test_nothing_private_is_in_its_bytes(self, database: Database) -> None:
        await filled(database)
        raw = await database.read(lambda reader: encode_page(reader, 0))
        assert CLOSED.encode() in raw
        names = (b'"name"', b'"bucket":', b"quota_bytes", b"ciphertext")
        for private in (TERMS.encode(), SEGMENT.envelopes.encode(), *names):
            assert private not in raw

    async def test_page_of_an_empty_log_names_its_home_and_has_no_head(self, database: Database) -> None:
        await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
        page = await database.read(lambda reader: read_page(reader, 0))
        assert (page.home, page.entries, page.head) == (HOME.hotkey, (), None)

    async def test_page_behind_the_end_has_the_head_alone(self, database: Database) -> None:
        await filled(database)
        head = await database.read(read_head)
        for after in (8, 9, 2**53 - 1):
            page = await database.read(partial(read_page, after_seq=after))
            assert (page.entries, page.head) == ((), head)

    async def test_pages_of_256_lead_to_the_head(self, database: Database) -> None:
        await database.transact(lambda txn: append(txn, HOME, [CLOSED] * LOG_PAGE_MAX, NOW))
        exact = await database.read(lambda reader: read_page(reader, 0))
        assert (len(exact.entries), exact.head is not None) == (LOG_PAGE_MAX, True)
        await database.transact(lambda txn: append(txn, HOME, [CLOSED] * 3, NOW))
        first = await database.read(lambda reader: read_page(reader, 0))
        assert (len(first.entries), first.head) == (LOG_PAGE_MAX, None)
        second = await database.read(lambda reader: read_page(reader, LOG_PAGE_MAX))
        assert [entry.record.seq for entry in second.entries] == [257, 258, 259]
        assert second.head is not None
        end = verify_chain(second.entries, NETWORK, after=verify_chain(first.entries, NETWORK))
        verify_head(second.head, end, HOME.hotkey, NETWORK)

    async def test_page_has_no_more_bytes_than_its_limit(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await filled(database)
        whole = await database.read(lambda reader: encode_page(reader, 0))
        for limit, expected in ((len(whole), 8), (len(whole) - 1, 7)):
            monkeypatch.setattr(log, "LOG_PAGE_BYTES_MAX", limit)
            raw = await database.read(lambda reader: encode_page(reader, 0))
            page = await database.read(lambda reader: read_page(reader, 0))
            assert len(raw) <= limit
            assert len(page.entries) == expected
            assert (page.head is not None) == (expected == 8)
