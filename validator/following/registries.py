"""Which registry answers for an account: our own, or that of a home that we follow (PROTOCOL §3.6).

An account is ours when our registry knows it, and when nobody else's does: then its first change makes us its home.
Where only a followed home's registry knows it, we answer reads from there, and changes with the home's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hippy.errors import NotHomeError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database, Reader
from hippy.validator.following.replica import followed_homes, reader_of
from hippy.validator.log import TERM, Home
from hippy.validator.tables import ACCOUNT, BUCKET, DEAD, USED, get_count
from hippy.wire.home import HomeChange

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's home, the number of homes it has had with this one, and the change that led to it."""

    home: PublicKey
    term: int = TERM
    change: HomeChange | None = None


class Writable(Protocol):
    """What may keep a home from writing."""

    def check(self) -> None:
        """Raises TemporaryError while no change can be taken."""


def knows(registry: Reader, account: PublicKey) -> bool:
    """Return whether a registry has anything of an account; what was deleted counts, for its versions go on."""
    if registry.get(ACCOUNT + account) is not None or get_count(registry, USED + account):
        return True
    return any(next(registry.scan(table + account), None) is not None for table in (BUCKET, DEAD))


def standing_of(reader: Reader, us: PublicKey, account: PublicKey) -> Standing:
    """Return where an account's home is as far as we know."""
    if knows(reader, account):
        return Standing(us)
    for home in followed_homes(reader):
        if knows(reader_of(reader, home), account):
            return Standing(home)
    return Standing(us)


def registry_of(reader: Reader, us: PublicKey, home: PublicKey) -> Reader:
    """Return the registry of a home: ours, or what we have of another's."""
    return reader if home == us else reader_of(reader, home)


def registries(reader: Reader) -> Iterator[Reader]:
    """Yield our registry and those that we follow."""
    yield reader
    for home in followed_homes(reader):
        yield reader_of(reader, home)


class Registries:
    """The registries of one database, for the service."""

    def __init__(self, home: Home, database: Database, writable: Writable | None = None) -> None:
        self._us = home.hotkey
        self._database = database
        self._writable = writable

    async def read(self, account: PublicKey, work: Callable[[Reader, Standing], T]) -> T:
        """Run ``work`` on the registry that answers for an account."""

        def found(reader: Reader) -> T:
            standing = standing_of(reader, self._us, account)
            return work(registry_of(reader, self._us, standing.home), standing)

        return await self._database.read(found)

    async def change(self, account: PublicKey, work: Callable[[Reader], T]) -> T:
        """Run ``work`` on our registry, where we take changes of an account.

        Raises NotHomeError naming the home when that is another validator, TemporaryError while we take none.
        """

        def found(reader: Reader) -> T:
            standing = standing_of(reader, self._us, account)
            if standing.home != self._us:
                raise NotHomeError(
                    f"the account's home is the validator {ss58_encode(standing.home)}",
                    hint="ask that one; if it is gone for good, move the account with `hippy account move`",
                )
            return work(reader)

        if self._writable is not None:
            self._writable.check()
        return await self._database.read(found)
