"""The rows of lost pieces."""

from __future__ import annotations

import asyncio

from hippy.ids import PublicKey, Root
from hippy.kv import Reader, Transaction, open_database
from hippy.miner import lost_rows
from hippy.proofs.tree import leaf_hashes
from hippy.testing.kv import MemoryDatabase
from tests.miner.telling import DATA, ROOT
from tests.miner.world import VALIDATOR, World


def test_rows_name_validators_once_and_in_order() -> None:
    validators = [PublicKey(bytes([number]) * 32) for number in (0, 7, 255)]
    roots = [Root(bytes([number]) * 32) for number in (0, 3, 255)]

    async def run() -> tuple[list[PublicKey], list[Root], list[bytes]]:
        database = MemoryDatabase()

        def write(state: Transaction) -> None:
            lost_rows.note(state, roots)
            for root in roots:
                lost_rows.confirm(state, root, validators)
            lost_rows.note(state, roots)  # known
            lost_rows.told(state, validators[1], roots[:2])

        def read(state: Reader) -> tuple[list[PublicKey], list[Root]]:
            return lost_rows.validators_to_tell(state), lost_rows.to_tell(state, validators[1], 9)

        await database.transact(write)
        everyone, second = await database.read(read)

        def forget(state: Transaction) -> list[bytes]:
            for root in roots:
                lost_rows.forget(state, root)
            return [key for key, _ in state.scan(b"")]

        return everyone, second, await database.transact(forget)

    assert asyncio.run(run()) == (validators, roots[2:], [])


async def test_rows_of_losses_are_durable(stored: World) -> None:
    stored.files().write(ROOT, DATA, leaf_hashes(DATA))
    stored.files().path(ROOT).unlink()
    async with stored.store() as store:
        assert await store.losses.settle()
        await store.losses.told(VALIDATOR.public_key, [ROOT], recorded=1, now=0)
    async with open_database(stored.data_dir / "index") as database:

        def keys(state: Reader) -> list[bytes]:
            return [key for prefix in (b"check/", b"lost/", b"tell/") for key, _ in state.scan(prefix)]

        assert await database.read(keys) == [b"lost/" + ROOT]
