"""The operator's side: accounts of a running validator, kept beyond it, and the registry in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import ClientSession

from hippy.errors import AuthError
from hippy.kv import Database
from hippy.testing.clock import VirtualClock
from hippy.transport.admin_token import read_token
from hippy.validator.accounts import terms_of
from hippy.validator.admin import Administration, Figures
from hippy.validator.log import position, scan_log, verify_chain
from hippy.wire.log import AccountRecord
from hippy.wire.node import AccountStatus
from tests.validator.network import ACCOUNT as CLIENT
from tests.validator.network import STRANGER as OTHER
from tests.validator.network import local_network
from tests.validator.releasing import LEASE, sweep, write
from tests.validator.world import ACCOUNT, HOME, NETWORK, NOW, STRANGER, TERMS, committed, row


def desk(database: Database) -> Administration:
    return Administration(HOME, database, VirtualClock(float(NOW)))


async def test_an_account_that_is_set_is_served_and_listed(database: Database) -> None:
    administration = desk(database)
    assert await administration.list_accounts() == []
    with pytest.raises(AuthError):
        await database.read(lambda reader: terms_of(reader, ACCOUNT.public_key, 0))
    status = await administration.set_account(TERMS)
    assert (status.account, status.quota_bytes, status.used_bytes) == (ACCOUNT.public_key, 10_000, 0)
    assert await database.read(lambda reader: terms_of(reader, ACCOUNT.public_key, 0)) == TERMS
    assert await administration.list_accounts() == [status]


async def test_an_account_is_changed_with_what_it_uses_and_the_log_says_so(database: Database) -> None:
    administration = desk(database)
    await administration.set_account(TERMS)
    await committed(database)
    less = TERMS.model_copy(update={"quota_bytes": 1, "pay_class": "unpaid"})
    assert (await administration.set_account(less)).used_bytes == 800
    before = (await database.read(position)).seq
    await administration.set_account(less)
    assert (await database.read(position)).seq == before
    entries = await database.read(lambda reader: list(scan_log(reader)))
    verify_chain(entries, NETWORK)
    assert [entry.account for entry in entries if entry.account] == [TERMS, less]


async def test_accounts_are_listed_in_the_order_of_their_keys(database: Database) -> None:
    administration = desk(database)
    for identity in sorted((ACCOUNT, STRANGER), key=lambda each: each.public_key, reverse=True):
        await administration.set_account(TERMS.model_copy(update={"account": identity.public_key}))
    listed = [status.account for status in await administration.list_accounts()]
    assert listed == sorted([ACCOUNT.public_key, STRANGER.public_key])


async def test_figures_count_what_is_there(database: Database) -> None:
    administration = desk(database)
    assert await administration.figures() == Figures(0, 0, 0, 0, 0, 0)
    await administration.set_account(TERMS)
    one, two = await committed(database, 1), await committed(database, 2)
    first = row("a", segment_ids=(one.segment_id,))
    await write(database, first, row("b"), row("c"))
    await write(database, row("b", replaces=row("b"), manifest=None))
    rows_bytes = sum(
        len(row(name, segment_ids=ids).encode()) + 8 for name, ids in (("a", first.segment_ids), ("c", ()))
    )
    assert await administration.figures() == Figures(8, 1, 2 * 800 + rows_bytes, 2, 0, 2)
    await sweep(database, NOW + LEASE)
    assert two.segment_id not in first.segment_ids
    assert await administration.figures() == Figures(9, 1, 800 + rows_bytes, 1, 1, 2)


async def test_the_admin_port_lists_and_sets_accounts_of_a_running_validator(tmp_path: Path, unused_port: int) -> None:
    record = AccountRecord(account=OTHER.public_key, pay_class="unpaid", quota_bytes=7)
    url = f"http://127.0.0.1:{unused_port}"
    async with local_network(tmp_path, miners=0) as network:
        async with network.validator(OTHER, admin_port=unused_port) as client, ClientSession() as http:
            with pytest.raises(AuthError):
                await client.status()
            headers = {"Authorization": f"Bearer {read_token(network.directory / 'validator')}"}
            async with http.post(f"{url}/accounts", data=record.encode()) as refused:
                assert refused.status == 401
            async with http.post(f"{url}/accounts", data=record.encode(), headers=headers) as answer:
                assert AccountStatus.parse(await answer.read()).quota_bytes == 7
            assert (await client.status()).quota_bytes == 7
            async with http.post(f"{url}/accounts", data=b"{}", headers=headers) as bad:
                assert bad.status == 400
            async with http.get(f"{url}/accounts", headers=headers) as answer:
                listed = json.loads(await answer.read())["accounts"]
            assert {each["account"]: each["quota_bytes"] for each in listed} == {
                CLIENT.public_key.hex(): 100_000,
                OTHER.public_key.hex(): 7,
            }
            async with http.get(f"{url}/metrics", headers=headers) as answer:
                page = await answer.text()
            assert "hippy_validator_accounts 2" in page
            async with http.get(f"{url}/readyz") as answer:
                assert answer.status == 200
        async with network.validator(OTHER) as client:  # and it is still known when the validator starts again
            assert (await client.status()).quota_bytes == 7
