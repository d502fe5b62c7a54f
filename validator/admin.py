"""What an operator does with a running validator, and what it tells of its registry.

The admin port (hippy.transport.admin) turns requests of this machine into these calls; the database has one process,
so nobody else can. Accounts set here are kept in the registry like those of the settings. The newest word holds: an
account that the settings list may be changed here too, and stays so until its entry there is changed.

On the admin port (hippy.validator.admin_routes): ``GET /accounts`` answers ``{"accounts": [account-status, …]}``,
``POST /accounts`` takes an account-record and answers the account-status that is so, both spelt as PROTOCOL §1 has it.

::

    desk = Administration(home, database, clock)
    await desk.set_account(AccountRecord(account=key, pay_class="paid", quota_bytes=10**12))
    for status in await desk.list_accounts():
        print(status.account.hex(), status.used_bytes, "of", status.quota_bytes)
    print((await desk.figures()).log_seq)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hippy.clock import Clock
from hippy.kv import Database, Reader, Transaction
from hippy.validator.accounts import apply_accounts, status_of
from hippy.validator.log import Home, position
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import ACCOUNT, STATISTIC, STORED_BYTES_MAX, USED
from hippy.wire.log import AccountRecord
from hippy.wire.node import AccountStatus

WRITABLE: Final = STATISTIC + b"writable"
"""Written again and again to see whether that works (GET /readyz); nothing reads it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A registry in numbers, for metrics."""

    log_seq: int
    """The newest record's number, which is also how many records there are."""

    accounts: int
    """Accounts that were set; strangers that are served without are not among them."""

    used_bytes: int
    """What all accounts are charged, strangers too."""

    segments: int
    """Committed and not released."""

    released_segments: int
    objects: int
    """Live rows of all accounts."""


class Administration:
    """The operator's side of one validator."""

    def __init__(self, home: Home, database: Database, clock: Clock) -> None:
        self._home = home
        self._database = database
        self._clock = clock

    async def list_accounts(self) -> list[AccountStatus]:
        """Return every account that was set, in the order of keys, with what it uses."""
        us = self._home.hotkey
        return await self._database.read(lambda reader: [status_of(reader, each, us) for each in _accounts(reader)])

    async def set_account(self, record: AccountRecord) -> AccountStatus:
        """Add or change an account, durably, and return what it has now.

        A quota below what is used takes nothing away: the account can only store no more.
        """
        now = int(self._clock.now())

        def work(txn: Transaction) -> AccountStatus:
            apply_accounts(txn, self._home, [record], now)
            return status_of(txn, record, self._home.hotkey)

        return await self._database.transact(work)

    async def check_writable(self) -> None:
        """Write to the registry what means nothing; raises TemporaryError when it takes no writes."""
        await self._database.transact(lambda txn: txn.put(WRITABLE, b"\0"))

    async def figures(self) -> Figures:
        """Return the registry's figures; reads a few keys and one for each account."""
        return await self._database.read(_figures)


def _accounts(reader: Reader) -> list[AccountRecord]:
    return [AccountRecord.parse(value, limit=STORED_BYTES_MAX) for _, value in reader.scan(ACCOUNT)]


def _figures(reader: Reader) -> Figures:
    return Figures(
        log_seq=position(reader).seq,
        accounts=sum(1 for _ in reader.scan(ACCOUNT)),
        used_bytes=sum(int.from_bytes(value, "little") for _, value in reader.scan(USED)),
        segments=get_statistic(reader, Statistic.SEGMENTS),
        released_segments=get_statistic(reader, Statistic.RELEASED),
        objects=get_statistic(reader, Statistic.OBJECTS),
    )
