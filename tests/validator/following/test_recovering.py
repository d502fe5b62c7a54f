"""What an old copy of a registry has open and the lost records ended is settled when they are taken back."""

from __future__ import annotations

import pytest

from hippy.errors import TemporaryError
from hippy.kv import Reader
from hippy.testing.kv import MemoryDatabase
from hippy.validator.allocation import CLOSE_AFTER_SECONDS, close_due
from hippy.validator.commit import check_commit, commit_segments
from hippy.validator.following.checking import CheckedPage, check_page
from hippy.validator.following.pages import encode_own_page
from hippy.validator.following.recovering import SERIALS_SKIPPED, take_back
from hippy.validator.log import position
from hippy.validator.tables import ALLOCATION, DUE, SERIAL, USED, claim, get_count
from hippy.wire.follow import FollowPage
from hippy.wire.pace import USUAL_PACE
from hippy.wire.parts import parse_parts
from tests.validator.following.test_equivocation import copy_of
from tests.validator.following.test_fold import told
from tests.validator.world import ACCOUNT, ENVELOPE_KEY, HOME, NETWORK, NOW, allocated, commit


async def lost_records(database: MemoryDatabase, old: MemoryDatabase) -> CheckedPage:
    """Return what a registry has logged since an old copy of it was made."""
    after = await old.read(position)
    page, blobs = parse_parts(FollowPage, await database.read(lambda r: encode_own_page(r, HOME, after.seq)))
    return check_page(page, blobs, HOME.hotkey, after, HOME)


def charged(reader: Reader) -> int:
    return get_count(reader, USED + ACCOUNT.public_key)


@pytest.mark.parametrize("end", ["committed", "closed"])
async def test_an_allocation_that_a_lost_record_ended_is_charged_once(end: str) -> None:
    database = MemoryDatabase()
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    allocation = await allocated(database)
    old = copy_of(database)
    if end == "committed":
        checked = check_commit(commit(allocation), allocation, HOME, ENVELOPE_KEY)
        await database.transact(lambda txn: commit_segments(txn, HOME, [checked], NOW))
    else:
        late = allocation.upload_by + CLOSE_AFTER_SECONDS + 1
        await database.transact(lambda txn: close_due(txn, HOME, late, 10))
    page = await lost_records(database, old)
    await old.transact(lambda txn: take_back(txn, home=HOME, page=page, portion=page.entries, pace=USUAL_PACE))
    assert await old.read(charged) == await database.read(charged)
    assert await old.read(told) == await database.read(told)
    assert await old.read(lambda r: list(r.scan(DUE)) + list(r.scan(ALLOCATION))) == []
    assert await old.read(position) == await database.read(position)
    assert await old.read(lambda r: get_count(r, SERIAL)) >= SERIALS_SKIPPED


async def test_records_are_not_taken_back_behind_something_new() -> None:
    database = MemoryDatabase()
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    old = copy_of(database)
    await allocated(database)
    page = await lost_records(database, old)
    await allocated(old, 1)
    with pytest.raises(TemporaryError):
        await old.transact(lambda txn: take_back(txn, home=HOME, page=page, portion=page.entries, pace=USUAL_PACE))
