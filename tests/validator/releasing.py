"""Short words for tests about the end of segments: write rows, sweep, look at what is left."""

from __future__ import annotations

from collections.abc import Sequence

from hippy.ids import SegmentId
from hippy.kv import Database
from hippy.validator.accounts import status_of
from hippy.validator.leases import Life, get_life
from hippy.validator.log import scan_log
from hippy.validator.objects import check_drop, check_row, write_rows
from hippy.validator.releases import release_due
from hippy.wire.log import AccountRecord, SegmentReleased
from hippy.wire.object import Drop, ObjectRow
from hippy.wire.pace import DAY, USUAL_PACE
from tests.validator.world import ACCOUNT, HOME, NETWORK, NOW

GRACE, LEASE = USUAL_PACE.drop_grace_seconds, USUAL_PACE.lease_seconds
RICH = AccountRecord(account=ACCOUNT.public_key, pay_class="paid", quota_bytes=10**9)
__all__ = ["DAY", "GRACE", "LEASE", "life", "released", "sweep", "used", "write"]


async def write(database: Database, *rows: ObjectRow, drops: Sequence[Drop] = (), now: int = NOW) -> list[str]:
    """Write rows of ACCOUNT and return the status, or error code, of each."""
    account = ACCOUNT.public_key
    ready = [check_row(row, b"manifest" if row.action == "put" else b"", account, NETWORK, now) for row in rows]
    good = {drop.segment_id: drop for drop in drops if check_drop(drop, account, NETWORK, now)}
    answer = await database.transact(lambda txn: write_rows(txn, HOME, RICH, ready, now, good))
    return [result.code or result.status for result in answer.results]


async def sweep(database: Database, now: int, *, portion: int = 100) -> None:
    """Release what is due."""
    while await database.transact(lambda txn: release_due(txn, HOME, now, portion)):
        pass


async def released(database: Database) -> list[SegmentReleased]:
    """Return the bodies of all released records, in order."""
    entries = await database.read(lambda reader: list(scan_log(reader)))
    return [entry.released for entry in entries if entry.released is not None]


async def life(database: Database, segment_id: SegmentId) -> Life:
    """Return what is known of a committed segment."""
    found = await database.read(lambda reader: get_life(reader, segment_id))
    assert found is not None
    return found


async def used(database: Database, account: AccountRecord = RICH) -> int:
    """Return what an account is charged."""
    return (await database.read(lambda reader: status_of(reader, account, HOME.hotkey))).used_bytes
