"""The log: what is appended verifies, what is altered, left out or resigned does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import AuthError, IntegrityError
from hippy.ids import SegmentId
from hippy.kv import Database, open_database
from hippy.validator.log import BEGINNING, Body, append, position, read_head, scan_log, verify_chain, verify_head
from hippy.wire.log import AllocationClosed, LogRecord
from tests.validator.world import HOME, NETWORK, NOW, STRANGER, TERMS, row

BODIES: list[Body] = [TERMS, AllocationClosed(segment_id=SegmentId(b"s" * 32), upload_by=NOW), row("a"), row("b")]


async def filled(database: Database) -> list[LogRecord]:
    await database.transact(lambda txn: append(txn, HOME, BODIES[:2], NOW))
    await database.transact(lambda txn: append(txn, HOME, BODIES[2:], NOW + 1))
    return await database.read(lambda reader: list(scan_log(reader)))


async def test_appended_records_verify_up_to_the_signed_head(database: Database) -> None:
    records = await filled(database)
    end = verify_chain(records, NETWORK)
    head = await database.read(read_head)
    assert head is not None
    verify_head(head, end, HOME.hotkey, NETWORK)
    assert [record.kind for record in records] == ["account", "closed", "row", "row"]
    assert [record.time for record in records] == [NOW, NOW, NOW + 1, NOW + 1]
    assert (end.seq, head.netuid) == (4, HOME.netuid)


async def test_follower_verifies_only_what_is_new(database: Database) -> None:
    records = await filled(database)
    middle = verify_chain(records[:2], NETWORK)
    rest = await database.read(lambda reader: list(scan_log(reader, after_seq=2)))
    assert rest == records[2:]
    assert verify_chain(rest, NETWORK, after=middle) == verify_chain(records, NETWORK)


async def test_altered_record_is_caught(database: Database) -> None:
    records = await filled(database)
    for at, record in enumerate(records):
        altered = [*records[:at], record.model_copy(update={"time": 1}), *records[at + 1 :]]
        head = await database.read(read_head)
        assert head is not None
        with pytest.raises(IntegrityError):
            verify_head(head, verify_chain(altered, NETWORK), HOME.hotkey, NETWORK)


async def test_missing_or_swapped_record_is_caught(database: Database) -> None:
    one, two, three, four = await filled(database)
    for records in ([two, three, four], [one, three, four], [one, three, two, four]):
        with pytest.raises(IntegrityError, match="does not follow"):
            verify_chain(records, NETWORK)


async def test_record_of_another_kind_than_its_body_is_caught(database: Database) -> None:
    first, *_ = await filled(database)
    for change in ({"kind": "row"}, {"row": BODIES[2]}, {"account": None}, {"envelopes": ()}):
        with pytest.raises(IntegrityError, match="kind"):
            verify_chain([first.model_copy(update=change)], NETWORK)


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
        assert await database.transact(lambda txn: append(txn, HOME, [TERMS], NOW)) == 5
        assert verify_chain(await database.read(lambda reader: list(scan_log(reader))), NETWORK).seq == 5


async def test_appending_nothing_writes_nothing(database: Database) -> None:
    assert await database.transact(lambda txn: append(txn, HOME, [], NOW)) == 0
    assert await database.read(read_head) is None
    assert await database.read(position) == BEGINNING
