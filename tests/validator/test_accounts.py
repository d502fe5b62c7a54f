"""Accounts: logged when they change, charged up to their quota."""

from __future__ import annotations

import pytest

from hippy.errors import AuthError, QuotaError
from hippy.kv import Database
from hippy.validator.accounts import apply_accounts, apply_settings, charge, refund, status_of, terms_of
from hippy.validator.log import scan_log
from hippy.wire.log import AccountRecord
from tests.validator.world import HOME, NOW, STRANGER, TERMS


async def apply(database: Database, *records: AccountRecord) -> int:
    await database.transact(lambda txn: apply_accounts(txn, HOME, records, NOW))
    return await database.read(lambda reader: len(list(scan_log(reader))))


async def used(database: Database) -> int:
    return (await database.read(lambda reader: status_of(reader, TERMS, HOME.hotkey))).used_bytes


async def test_account_is_logged_when_it_changes_and_only_then(database: Database) -> None:
    assert await apply(database, TERMS) == 1
    assert await apply(database, TERMS) == 1
    more = TERMS.model_copy(update={"quota_bytes": 20_000})
    assert await apply(database, more) == 2
    assert await database.read(lambda reader: terms_of(reader, TERMS.account, 0)) == more


async def test_the_newest_word_about_an_account_holds_whoever_said_it(database: Database) -> None:
    async def start(*listed: AccountRecord) -> int:
        await database.transact(lambda txn: apply_settings(txn, HOME, listed, NOW))
        return (await database.read(lambda reader: terms_of(reader, TERMS.account, 0))).quota_bytes

    def of(quota_bytes: int) -> AccountRecord:
        return TERMS.model_copy(update={"quota_bytes": quota_bytes})

    assert await start(of(10)) == 10
    await apply(database, of(20))
    assert await start(of(10)) == 20, "the command's word outlives a restart"
    assert await start(of(30)) == 30, "until the entry is changed"
    await apply(database, of(40))
    assert await start() == 40, "who is listed no longer keeps what it had"
    assert await start(of(30)) == 30, "an entry that is back is a new one"


async def test_unknown_account_is_told_whom_to_ask(database: Database) -> None:
    with pytest.raises(AuthError) as caught:
        await database.read(lambda reader: terms_of(reader, STRANGER.public_key, 0))
    assert "operator" in (caught.value.hint or "")


async def test_unknown_account_is_unpaid_where_strangers_have_a_quota(database: Database) -> None:
    terms = await database.read(lambda reader: terms_of(reader, STRANGER.public_key, 500))
    assert (terms.pay_class, terms.quota_bytes) == ("unpaid", 500)


async def test_charge_up_to_the_last_byte_and_not_beyond(database: Database) -> None:
    await database.transact(lambda txn: charge(txn, TERMS, 9_000))
    await database.transact(lambda txn: charge(txn, TERMS, 1_000))
    with pytest.raises(QuotaError, match="1 bytes are needed, 0 of 10000"):
        await database.transact(lambda txn: charge(txn, TERMS, 1))
    assert await used(database) == 10_000
    await database.transact(lambda txn: refund(txn, TERMS.account, 4_000))
    assert await used(database) == 6_000
