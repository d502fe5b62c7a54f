"""Opens a validator's registry: RocksDB in its data_dir, or PostgreSQL, which several processes may share.

Processes that share a registry are one validator: they have the same hotkey and the same secrets. The registry keeps
digests of the secrets, so that a process with others does not start (it would draw other placements and could not open
what clients sealed).

Example::

    async with open_registry(settings) as database:
        await check_secrets(database, settings.data_dir, {"placement.secret": secrets.placement})
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hippy.errors import ConfigError
from hippy.hashing import kdf
from hippy.kv import Database, Transaction, open_database
from hippy.validator.settings import ValidatorSettings

SECRET_DIGEST: Final = b"meta/secret/"
"""Followed by a file's name: the digest of the secret in it."""


@asynccontextmanager
async def open_registry(settings: ValidatorSettings) -> AsyncIterator[Database]:
    """Open the registry that the settings name.

    Raises ConfigError when it cannot be used, TemporaryError when its server is away.
    """
    if settings.registry is None:
        async with open_database(settings.data_dir / "registry") as database:
            yield database
        return
    try:
        from hippy.postgres.database import open_postgres
    except ImportError:
        raise ConfigError(
            "a registry on PostgreSQL needs asyncpg, which is not installed", hint="pip install 'hippy-net[postgres]'"
        ) from None
    async with open_postgres(settings.registry) as shared:
        yield shared


async def check_secrets(database: Database, data_dir: Path, secrets: Mapping[str, bytes]) -> None:
    """Check that the secrets in ``data_dir`` (file name → secret) are those of all processes of a registry.

    The first process says which they are. Raises ConfigError naming the file that differs.
    """
    digests = {SECRET_DIGEST + name.encode(): kdf("registry secret", secret) for name, secret in secrets.items()}

    def differing(txn: Transaction) -> list[str]:
        found = {key: txn.get(key) for key in digests}
        for key in digests:
            if found[key] is None:
                txn.put(key, digests[key])
        return [key[len(SECRET_DIGEST) :].decode() for key in digests if found[key] not in (None, digests[key])]

    wrong = await database.transact(differing)
    if wrong:
        raise ConfigError(
            f"{data_dir / wrong[0]} is not the one that this registry's other processes have",
            hint=f"copy {' and '.join(secrets)} here from the data_dir of the registry's first process",
        )
