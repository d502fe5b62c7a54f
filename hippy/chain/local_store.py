"""The registry of a local network: neurons, endpoints and weights, read and written. Blocking; one thread.

Each method is one short transaction on the file of hippy.chain.local_schema. Freeing a uid takes all weights
on it and by it along (foreign keys), so whoever gets the uid next starts from nothing, as on chain, where
weights older than a registration do not count.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hippy.chain.local_schema import Genesis, open_file, sqlite_errors, transaction
from hippy.chain.protocol import Neuron
from hippy.chain.weights import UID_MAX
from hippy.chain.yuma import consensus_incentive
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, ConfigError, ConflictError, NotFoundError, UsageError
from hippy.ids import ID_BYTES, ZERO_ID, PublicKey

NEURONS_MAX: Final = 256
"""As on a Bittensor subnet."""

STAKE_RAO_MAX: Final = 21_000_000 * 10**9
"""All TAO there will ever be."""


class LocalStore:
    """An open chain file, used by the thread that opened it. Besides those named, every method raises
    TemporaryError when the file stays locked or its disk fails."""

    def __init__(self, path: Path, connection: sqlite3.Connection, genesis: Genesis) -> None:
        self.genesis = genesis
        self._path = path
        self._connection = connection
        self._kept: tuple[tuple[int, int], tuple[Neuron, ...]] | None = None

    @classmethod
    def open(cls, path: Path) -> LocalStore:
        """Open an existing chain file.

        Raises ConfigError when there is none, it is something else, or another version of hippy made it.
        """
        return cls(path, *open_file(path))

    def close(self) -> None:
        """Close the file."""
        with sqlite_errors(self._path):
            self._connection.close()

    def neurons(self) -> tuple[Neuron, ...]:
        """Return all neurons in uid order, with the incentive that the last set weights give them.

        They are computed again only when the file has changed: a full subnet takes 30 ms, and every question about the
        network asks for them.
        """
        version = self._version()  # before reading: what changes meanwhile is read again the next time
        if self._kept is None or self._kept[0] != version:
            self._kept = version, self._read_neurons()
        return self._kept[1]

    def _version(self) -> tuple[int, int]:
        """Return what differs after a change by somebody else, or by us."""
        with sqlite_errors(self._path):
            (others,) = self._connection.execute("PRAGMA data_version").fetchone()
        return others, self._connection.total_changes

    def _read_neurons(self) -> tuple[Neuron, ...]:
        with self._transaction("BEGIN") as sql:  # one snapshot for both reads
            rows = sql.execute(
                "SELECT uid, hotkey, coldkey, endpoint, validator_permit, stake_rao, registered_block"
                " FROM neuron ORDER BY uid"
            ).fetchall()
            weights = sql.execute(
                "SELECT validator, target, weight FROM weight JOIN neuron ON uid = validator WHERE validator_permit"
            ).fetchall()
        stakes = {row[0]: row[5] for row in rows}
        incentive = consensus_incentive(_by_validator(weights), stakes)
        return tuple(_neuron(row, incentive[row[0]]) for row in rows)

    def register(
        self, hotkey: PublicKey, coldkey: PublicKey, *, validator_permit: bool, stake_rao: int, block: int
    ) -> int:
        """Register ``hotkey`` on the smallest free uid and return the uid.

        Raises ConflictError when it is registered already, UsageError for an impossible key or stake,
        ConfigError when the subnet is full.
        """
        _check_registration(hotkey, coldkey, stake_rao)
        with self._transaction("BEGIN IMMEDIATE") as sql:
            if sql.execute("SELECT 1 FROM neuron WHERE hotkey = ?", (hotkey,)).fetchone():
                raise ConflictError(f"hotkey {hotkey.hex()} is registered already")
            uid = _free_uid(_uids(sql))
            sql.execute(
                "INSERT INTO neuron VALUES (?, ?, ?, NULL, ?, ?, ?)",
                (uid, hotkey, coldkey, validator_permit, stake_rao, block),
            )
        return uid

    def deregister(self, hotkey: PublicKey) -> None:
        """Free the uid of ``hotkey``, with all weights on it and by it.

        Raises NotFoundError when it is not registered.
        """
        with self._transaction("BEGIN IMMEDIATE") as sql:
            if sql.execute("DELETE FROM neuron WHERE hotkey = ?", (hotkey,)).rowcount == 0:
                raise NotFoundError(f"hotkey {hotkey.hex()} is not registered")

    def publish_endpoint(self, hotkey: PublicKey, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the address of ``hotkey``.

        Raises AuthError when it is not registered.
        """
        with self._transaction("BEGIN IMMEDIATE") as sql:
            row = (str(endpoint), hotkey)
            if sql.execute("UPDATE neuron SET endpoint = ? WHERE hotkey = ?", row).rowcount == 0:
                raise AuthError(f"hotkey {hotkey.hex()} is not registered")

    def set_weights(self, hotkey: PublicKey, weights: Mapping[int, float]) -> None:
        """Replace all weights of ``hotkey``; their values were checked by check_weights.

        Raises AuthError without a validator permit, UsageError when a uid is not registered.
        """
        with self._transaction("BEGIN IMMEDIATE") as sql:
            permitted = "SELECT uid FROM neuron WHERE hotkey = ? AND validator_permit"
            found = sql.execute(permitted, (hotkey,)).fetchone()
            if found is None:
                raise AuthError(f"hotkey {hotkey.hex()} has no validator permit")
            if foreign := weights.keys() - _uids(sql):
                raise UsageError(f"no neuron has uid {min(foreign)}")
            sql.execute("DELETE FROM weight WHERE validator = ?", found)
            rows = [(*found, uid, float(weight)) for uid, weight in weights.items()]
            sql.executemany("INSERT INTO weight VALUES (?, ?, ?)", rows)

    def weights_of(self, uid: int) -> dict[int, float]:
        """Return the weights that ``uid`` last set, uid → weight as given; empty when it has set none."""
        if not 0 <= uid <= UID_MAX:
            return {}  # nobody's, and SQLite takes no more than 64 bits
        with self._transaction("BEGIN") as sql:
            return dict(sql.execute("SELECT target, weight FROM weight WHERE validator = ?", (uid,)).fetchall())

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with sqlite_errors(self._path), transaction(self._connection, begin):
            yield self._connection


def _check_registration(hotkey: PublicKey, coldkey: PublicKey, stake_rao: int) -> None:
    for name, key in (("hotkey", hotkey), ("coldkey", coldkey)):
        if len(key) != ID_BYTES or key == ZERO_ID:
            raise UsageError(f"a {name} is {ID_BYTES} bytes, not all zero")
    if not 0 <= stake_rao <= STAKE_RAO_MAX:
        raise UsageError(f"a stake lies between 0 and {STAKE_RAO_MAX} rao, {stake_rao} does not")


def _uids(sql: sqlite3.Connection) -> set[int]:
    return {uid for (uid,) in sql.execute("SELECT uid FROM neuron")}


def _free_uid(taken: set[int]) -> int:
    for uid in range(NEURONS_MAX):
        if uid not in taken:
            return uid
    raise ConfigError(f"the subnet is full: it has {NEURONS_MAX} neurons", hint="deregister one first")


def _by_validator(weights: list[tuple[int, int, float]]) -> dict[int, dict[int, float]]:
    rows: dict[int, dict[int, float]] = {}
    for validator, target, weight in weights:
        rows.setdefault(validator, {})[target] = weight
    return rows


def _neuron(row: tuple[Any, ...], incentive: float) -> Neuron:
    uid, hotkey, coldkey, endpoint, validator_permit, stake_rao, registered_block = row
    return Neuron(
        uid=uid,
        hotkey=PublicKey(hotkey),
        coldkey=PublicKey(coldkey),
        endpoint=None if endpoint is None else Endpoint.parse(endpoint),
        validator_permit=bool(validator_permit),
        stake_rao=stake_rao,
        registered_block=registered_block,
        incentive=incentive,
    )
