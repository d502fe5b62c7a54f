"""Object rows: compare-and-swap in order, one result each, and nothing that the account has not committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hippy.errors import ProtocolError
from hippy.ids import MessageId, SegmentId
from hippy.kv import Database, open_database
from hippy.validator.leases import get_life
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.objects import (
    CONFLICT_BYTES_MAX,
    CONFLICTS_BYTES_MAX,
    NAMED_AT_ONCE,
    CheckedRow,
    check_drop,
    check_row,
    in_portions,
    join_answers,
    pair_manifests,
    read_rows,
    write_rows,
)
from hippy.validator.tables import LIVE, MANIFEST, USED, StoredRow, get_count
from hippy.wire.log import AccountRecord
from hippy.wire.object import OBJECTS_BYTES_MAX, Drop, ObjectRow, ReadAnswer, ReadRequest, RowResult, WriteAnswer
from hippy.wire.parts import encode_parts
from tests.validator.world import ACCOUNT, HOME, NETWORK, NOW, STRANGER, committed, component, drop, row, spec

SEGMENT = spec().segment_id(ACCOUNT.public_key)


def checked(one: ObjectRow, manifest: bytes = b"manifest") -> CheckedRow:
    blob = b"" if one.action == "delete" else manifest
    return check_row(one, blob, ACCOUNT.public_key, NETWORK, NOW)


async def write(
    database: Database, *rows: ObjectRow | CheckedRow, quota_bytes: int = 10**9, drops: Sequence[Drop] = ()
) -> Sequence[RowResult]:
    ready = [each if isinstance(each, CheckedRow) else checked(each) for each in rows]
    terms = AccountRecord(account=ACCOUNT.public_key, pay_class="paid", quota_bytes=quota_bytes)
    good = {each.segment_id: each for each in drops if check_drop(each, ACCOUNT.public_key, NETWORK, NOW)}
    answer = await database.transact(lambda txn: write_rows(txn, HOME, terms, ready, NOW, good))
    return answer.results


async def used_bytes(database: Database) -> int:
    return await database.read(lambda reader: get_count(reader, USED + ACCOUNT.public_key))


async def read(database: Database, *names: str) -> tuple[list[ObjectRow | None], list[bytes]]:
    request = ReadRequest(
        account=ACCOUNT.public_key,
        bucket=component("bucket"),
        names=tuple(tuple(component(part) for part in name.split("/")) for name in names),
    )
    answer, manifests = await database.read(lambda reader: read_rows(reader, request))
    assert isinstance(answer, ReadAnswer)
    return [found.row for found in answer.results], manifests


def statuses(results: Sequence[RowResult]) -> list[str]:
    return [result.code or result.status for result in results]


async def references(database: Database, ids: Sequence[SegmentId]) -> list[int]:
    lives = await database.read(lambda reader: [get_life(reader, segment_id) for segment_id in ids])
    return [0 if life is None else life.references for life in lives]


async def test_written_rows_are_read_back_with_their_manifests(database: Database) -> None:
    one, two = row("a", manifest=b"first"), row("a/b", manifest=b"second")
    assert statuses(await write(database, checked(one, b"first"), checked(two, b"second"))) == ["stored", "stored"]
    assert await read(database, "a/b", "none", "a") == ([two, None, one], [b"second", b"first"])


async def test_row_replaces_the_one_it_names_and_its_manifest_goes(database: Database) -> None:
    first = row("a", manifest=b"first")
    second = row("a", manifest=b"second", replaces=first)
    await write(database, checked(first, b"first"))
    assert statuses(await write(database, checked(second, b"second"))) == ["stored"]
    assert await read(database, "a") == ([second], [b"second"])
    assert await database.read(lambda reader: len(list(reader.scan(MANIFEST)))) == 1


async def test_row_that_lost_the_race_is_told_the_winner(database: Database) -> None:
    base, winner = row("a"), None
    await write(database, base)
    winner, loser = row("a", replaces=base), row("a", replaces=base, time=NOW - 1)
    await write(database, winner)
    (result,) = await write(database, loser)
    assert (result.status, result.current) == ("conflict", winner)
    assert await read(database, "a") == ([winner], [b"manifest"])


async def test_first_row_of_a_taken_name_and_successor_of_none_are_conflicts(database: Database) -> None:
    there = row("a")
    await write(database, there)
    results = await write(database, row("a", time=NOW - 1), row("b", replaces=there))
    assert [(result.status, result.current) for result in results] == [("conflict", there), ("conflict", None)]


async def test_row_equal_to_the_current_one_is_stored_but_not_again(database: Database) -> None:
    one = row("a")
    await write(database, one)
    assert statuses(await write(database, one.signed(ACCOUNT, NETWORK), one)) == ["stored", "stored"]
    assert await database.read(lambda reader: len(list(scan_log(reader)))) == 1


async def test_rows_of_one_request_apply_in_order(database: Database) -> None:
    first = row("a")
    second = row("a", replaces=first)
    deletion = row("a", replaces=second, manifest=None)
    assert statuses(await write(database, first, second, deletion)) == ["stored"] * 3
    assert statuses(await write(database, row("b", replaces=first), row("b"))) == ["conflict", "stored"]


async def test_deletion_keeps_the_count_of_versions(database: Database) -> None:
    first = row("a")
    deletion = row("a", replaces=first, manifest=None)
    await write(database, first, deletion)
    assert await read(database, "a") == ([deletion], [])
    (result,) = await write(database, row("a"))
    assert (result.status, result.current) == ("conflict", deletion)
    again = row("a", replaces=deletion)
    assert statuses(await write(database, again)) == ["stored"]
    assert await read(database, "a") == ([again], [b"manifest"])
    assert again.version == 3


async def test_wrong_version_of_the_right_predecessor_is_refused(database: Database) -> None:
    first = row("a")
    await write(database, first)
    skipped = row("a", replaces=first).model_copy(update={"version": 3}).signed(ACCOUNT, NETWORK)
    assert statuses(await write(database, skipped)) == ["protocol"]


async def test_row_naming_an_uncommitted_or_foreign_segment_is_refused(database: Database) -> None:
    ours = (await committed(database, 1)).segment_id
    foreign = (await committed(database, 2, account=STRANGER)).segment_id
    results = await write(
        database,
        row("a", segment_ids=(SegmentId(b"u" * 32),)),
        row("b", segment_ids=(ours, foreign)),
        row("c", segment_ids=(ours,)),
    )
    assert statuses(results) == ["not_found", "not_found", "stored"]
    assert (await read(database, "a", "b"))[0] == [None, None]


async def test_references_follow_the_live_rows(database: Database) -> None:
    ids = [(await committed(database, number)).segment_id for number in (1, 2, 3)]
    first = row("a", segment_ids=(ids[0], ids[1]))
    second = row("a", segment_ids=(ids[1], ids[2]), replaces=first)
    await write(database, first, row("b", segment_ids=(ids[0],)))
    assert await references(database, ids) == [2, 1, 0]
    await write(database, second, drops=[drop(ids[0])])
    assert await references(database, ids) == [1, 1, 1]
    await write(database, row("a", replaces=second, manifest=None), drops=[drop(ids[1]), drop(ids[2])])
    assert await references(database, ids) == [1, 0, 0]


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [drop(SegmentId(b"o" * 32))],
        [drop(SEGMENT, signer=STRANGER)],
        [drop(SEGMENT, time=NOW + 121)],
        [drop(SEGMENT).model_copy(update={"signature": bytes(64)})],
        [drop(SEGMENT, signer=STRANGER).model_copy(update={"account": ACCOUNT.public_key})],
    ],
    ids=["missing", "of another segment", "another account's", "from the future", "unsigned", "forged"],
)
async def test_a_row_that_leaves_a_segment_needs_the_accounts_drop_of_it(database: Database, bad: list[Drop]) -> None:
    await committed(database)
    first = row("a", segment_ids=(SEGMENT,))
    await write(database, first)
    for successor in (row("a", replaces=first), row("a", replaces=first, manifest=None)):
        assert statuses(await write(database, successor, drops=bad)) == ["protocol"]
    assert await references(database, [SEGMENT]) == [1]
    assert (await read(database, "a"))[0] == [first]
    gone = row("a", replaces=first, manifest=None)
    assert statuses(await write(database, gone, drops=[drop(SEGMENT, time=NOW + 120)])) == ["stored"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"account": STRANGER.public_key}, "auth"),
        ({"signature": bytes(64)}, "auth"),
        ({"head": None}, "protocol"),
        ({"time": NOW + 121}, "protocol"),
        ({"name": (b"n" * 33,)}, "protocol"),
        ({"manifest_hash": bytes(32)}, "integrity"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
async def test_row_that_is_wrong_in_itself_is_refused_alone(
    database: Database, change: dict[str, object], code: str
) -> None:
    bad = row("a").model_copy(update=change)
    if "signature" not in change:
        bad = bad.signed(ACCOUNT, NETWORK)
    assert statuses(await write(database, row("b"), bad, row("c"))) == ["stored", code, "stored"]
    assert (await read(database, "a"))[0] == [None]


async def test_name_of_impossible_blocks_cannot_be_read(database: Database) -> None:
    request = ReadRequest(account=ACCOUNT.public_key, bucket=component("bucket"), names=((b"n" * 47,),))
    with pytest.raises(ProtocolError):
        await database.read(lambda reader: read_rows(reader, request))


async def test_read_stops_where_the_answer_is_full(database: Database) -> None:
    large = b"m" * (256 * 1024)
    names = [f"{number:03}" for number in range(140)]
    for start in range(0, len(names), 35):
        await write(database, *(checked(row(name, manifest=large), large) for name in names[start : start + 35]))
    rows, manifests = await read(database, *names)
    assert 100 < len(rows) == len(manifests) < 140
    request = ReadRequest(
        account=ACCOUNT.public_key, bucket=component("bucket"), names=tuple((component(name),) for name in names)
    )
    answer = await database.read(lambda reader: encode_parts(*read_rows(reader, request)))
    assert OBJECTS_BYTES_MAX - 512 * 1024 < len(answer) <= OBJECTS_BYTES_MAX
    rest, _ = await read(database, *names[len(rows) :])
    assert len(rest) == 140 - len(rows)


async def test_every_change_is_in_the_log_and_rows_survive_a_restart(tmp_path: Path) -> None:
    first = row("a")
    second = row("a", replaces=first, manifest=None)
    async with open_database(tmp_path / "registry") as database:
        await write(database, first, row("b"))
        await write(database, second, row("b"))
    async with open_database(tmp_path / "registry") as database:
        entries = await database.read(lambda reader: list(scan_log(reader)))
        verify_chain(entries, NETWORK)
        assert [entry.row for entry in entries] == [first, row_of(entries[1].row), second]
        assert (await read(database, "a", "b"))[0] == [second, entries[1].row]


def row_of(found: ObjectRow | None) -> ObjectRow:
    assert found is not None
    return found


def test_manifests_go_to_the_rows_that_announce_them() -> None:
    rows = [row("a"), row("b", manifest=None), row("c")]
    assert [blob for _, blob in pair_manifests(rows, [b"1", b"2"])] == [b"1", b"", b"2"]


async def test_current_rows_and_their_manifests_are_charged(database: Database) -> None:
    first = row("a", manifest=b"first")
    second = row("a", manifest=b"a longer second", replaces=first)
    await write(database, checked(first, b"first"))
    assert await used_bytes(database) == len(first.encode()) + len(b"first")
    await write(database, checked(second, b"a longer second"))
    assert await used_bytes(database) == len(second.encode()) + len(b"a longer second")
    await write(database, row("a", replaces=second, manifest=None))
    assert await used_bytes(database) == 0


async def test_row_above_the_quota_is_refused_and_changes_nothing(database: Database) -> None:
    first, other = row("a", manifest=b"first"), row("b", manifest=b"other")
    room = len(first.encode()) + len(b"first")
    results = await write(database, checked(first, b"first"), checked(other, b"other"), quota_bytes=room)
    assert statuses(results) == ["stored", "quota"]
    assert await used_bytes(database) == room
    assert await read(database, "b") == ([None], [])


async def test_deleting_what_is_not_there_leaves_nothing_behind(database: Database) -> None:
    assert statuses(await write(database, row("a", manifest=None))) == ["not_found"]
    first = row("a")
    gone = row("a", replaces=first, manifest=None)
    await write(database, first, gone)
    assert statuses(await write(database, row("a", replaces=gone, manifest=None))) == ["not_found"]
    assert await database.read(lambda reader: len(list(scan_log(reader)))) == 2


def naming(count: int) -> CheckedRow:
    ids = tuple(SegmentId(number.to_bytes(32, "big")) for number in range(count))
    return checked(row("a").model_copy(update={"segment_ids": ids}))


def test_rows_of_one_transaction_name_no_more_segments_than_the_writer_has_time_for() -> None:
    half, whole, more, none = (naming(NAMED_AT_ONCE // 2), naming(NAMED_AT_ONCE), naming(NAMED_AT_ONCE + 1), naming(0))
    assert in_portions([half, half, none, half]) == [[half, half, none], [half]]
    assert in_portions([whole, more, none, whole]) == [[whole], [more], [none, whole]]
    assert in_portions([none] * 500) == [[none] * 500]


def test_answers_of_portions_tell_the_current_rows_of_conflicts_up_to_one_limit() -> None:
    current = naming(1_000).row
    portion = WriteAnswer(copies=1, results=(RowResult(status="conflict", current=current),) * 5)
    results = join_answers([portion] * 4).results
    told = CONFLICTS_BYTES_MAX // len(current.encode())
    assert 5 < told < 20
    assert [result.current for result in results] == [current] * told + [None] * (20 - told)
    assert {result.status for result in results} == {"conflict"}


async def test_a_long_row_that_is_there_is_not_told_to_those_that_lose_against_it(database: Database) -> None:
    long, one = naming(CONFLICT_BYTES_MAX // 66).row, checked(row("a"))
    there = StoredRow(MessageId(b"i" * 32), long).encode()
    await database.transact(lambda txn: txn.put(LIVE + one.key, there))
    (result,) = await write(database, one)
    assert (result.status, result.current) == ("conflict", None)
