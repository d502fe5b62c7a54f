"""What lies below a path: pages of encrypted names become entries (docs/PROTOCOL.md §3.4).

Owns paging, which moves on in the order of names and so comes to an end, and decryption of names and heads. Every
row of a listing is checked like one that was read (hippy.client.rows); that a validator leaves one out can be seen
only when it is asked for by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hippy.client.manifest import Head
from hippy.client.names import Place, open_child, open_path, ordered, seal_path
from hippy.client.results import Entry, Failure
from hippy.client.rows import Rows
from hippy.client.seen import Known
from hippy.client.session import Session
from hippy.client.uri import SCHEME, Uri
from hippy.errors import HippyError, IntegrityError, NotFoundError, ProtocolError
from hippy.wire.object import ListAnswer, ObjectRow

PAGES_MAX: Final = 100_000
"""Pages of one listing: 100 million objects."""


def path_of(uri: Uri) -> str:
    """Return the path in its bucket, as entries and failures name objects."""
    return "/".join(uri.components)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object below a prefix: its path in the bucket and relative to the prefix, its place, checked row and head."""

    bucket: str
    path: str
    components: tuple[str, ...]
    place: Place
    row: ObjectRow
    head: Head

    @property
    def uri(self) -> str:
        """Where it is, whatever the prefix."""
        return f"{SCHEME}{self.bucket}/{self.path}"


class Listing:
    """Listings of one account."""

    def __init__(self, session: Session, rows: Rows) -> None:
        self._session = session
        self._rows = rows

    async def below(self, prefix: Uri) -> AsyncIterator[Listed]:
        """Yield every object below a prefix, in no order, keeping none: a million rows are gigabytes.

        Raises IntegrityError when the validator serves anything but what was written.
        """
        async for listed in self._each_below(prefix):
            if isinstance(listed, Failure):
                raise listed.error
            yield listed

    async def below_each(self, prefix: Uri) -> tuple[list[Listed], list[Failure]]:
        """Return every object below a prefix, sorted by path, and the altered rows among them by name."""
        found: list[Listed] = []
        failures: list[Failure] = []
        async for listed in self._each_below(prefix):
            if isinstance(listed, Failure):
                failures.append(listed)
            else:
                found.append(listed)
        return sorted(found, key=lambda listed: listed.components), failures

    async def entries(self, prefix: Uri, *, recursive: bool) -> list[Entry]:
        """Return the children of a prefix, or every object below it, sorted by path."""
        if recursive:
            everything = [self._entry(listed) async for listed in self.below(prefix)]
            return sorted(everything, key=lambda entry: entry.path.split("/"))
        root = self._place(prefix)
        entries: list[Entry] = []
        directories: set[str] = set()
        async for page, known in self._pages(root, deep=False):
            entries += [self._entry(self._listed(prefix, root, row, known)) for row in page.rows]
            directories |= {open_child(self._session.keys, root, each)[0] for each in page.prefixes}
        entries += [Entry(path_of(prefix.below(name)), is_dir=True) for name in directories]
        return sorted(entries, key=lambda entry: (entry.path, entry.is_dir))

    async def hint_at(self, target: Uri) -> str:
        """Return what may be meant where there is no object at a URI, for people."""
        async for page, _ in self._pages(self._place(target), deep=False):
            if page.rows or page.prefixes:
                return "it is a directory: use recursive (-r) for everything below it"
            break
        return "hippy ls shows what there is"

    async def object_itself(self, target: Uri) -> list[Entry]:
        """Return the entry of the object at a URI, or nothing where there is none."""
        return [self._entry(listed) for listed in await self.listed_itself(target)]

    async def objects_at(self, targets: Sequence[Uri]) -> tuple[list[Listed], list[Failure]]:
        """Return the objects at many URIs, their components being their names, and the other URIs with the reason."""
        places = [self._place(target) for target in targets]
        found: list[Listed] = []
        failures: list[Failure] = []
        for target, place, row in zip(targets, places, await self._rows.current(places), strict=True):
            try:
                if isinstance(row, HippyError):
                    raise row
                if row is None or row.action == "delete":
                    raise NotFoundError(f"there is no {target}", hint="hippy ls shows what there is")
                head = self._rows.open_head(place, row)
            except HippyError as error:
                failures.append(Failure(str(target), error))
            else:
                found.append(Listed(target.bucket, path_of(target), (target.name,), place, row, head))
        return found, failures

    async def all_of(self, targets: Sequence[Uri], *, recursive: bool) -> tuple[list[Listed], list[Failure]]:
        """Return the objects at URIs, or with ``recursive`` at and below them, each once, and what is not to be had."""
        if not recursive:
            listed, failures = await self.objects_at(list(dict.fromkeys(targets)))
            if len(targets) == len(failures) == 1 and isinstance(failures[0].error, NotFoundError):
                failures[0].error.hint = await self.hint_at(targets[0])
            return listed, failures
        found: dict[bytes, Listed] = {}
        failures = []
        for target in targets:
            listed, altered = await self.below_each(target)
            failures += altered
            try:
                listed = [*await self.listed_itself(target), *listed]
            except HippyError as error:
                altered.append(Failure(str(target), error))
                failures.append(altered[-1])
            if not listed and not altered:
                hint = "hippy ls shows what there is"
                failures.append(Failure(str(target), NotFoundError(f"there is nothing at {target}", hint=hint)))
            found.update((each.place.ordered(), each) for each in listed)
        return list(found.values()), failures

    async def listed_itself(self, target: Uri) -> list[Listed]:
        """Return the object at a URI, its components being its name, or nothing where there is none."""
        if not target.components:
            return []
        found, failures = await self.objects_at([target])
        if failures and not isinstance(failures[0].error, NotFoundError):
            raise failures[0].error
        return found

    def _place(self, uri: Uri) -> Place:
        return seal_path(self._session.keys, uri.bucket, uri.components)

    async def _each_below(self, prefix: Uri) -> AsyncIterator[Listed | Failure]:
        root = self._place(prefix)
        async for page, known in self._pages(root, deep=True):
            for row in page.rows:
                yield self._tried(prefix, root, row, known)

    async def _pages(self, root: Place, *, deep: bool) -> AsyncIterator[tuple[ListAnswer, Known]]:
        """Yield pages, each with what was known before it was asked for."""
        after: tuple[bytes, ...] | None = None
        for _ in range(PAGES_MAX):
            known = self._session.seen.known()
            page = await self._session.api.list_page(root.bucket, root.name, deep=deep, after=after)
            _check_order(page, root, after, deep=deep)
            yield page, known
            if page.after is None:
                return
            after = page.after
        raise ProtocolError("the validator's listing does not end")

    def _tried(self, prefix: Uri, root: Place, row: ObjectRow, known: Known) -> Listed | Failure:
        """Return a row of a deep page, or as what it fails alone: by its name, or that of the prefix if it has none."""
        path = path_of(prefix)
        try:
            components, place = self._named(root, row)
            path = path_of(prefix.below(*components))
            return self._opened(prefix, components, place, row, known)
        except HippyError as error:
            return Failure(path, error)

    def _listed(self, prefix: Uri, root: Place, row: ObjectRow, known: Known) -> Listed:
        components, place = self._named(root, row)
        return self._opened(prefix, components, place, row, known)

    def _opened(self, prefix: Uri, components: tuple[str, ...], place: Place, row: ObjectRow, known: Known) -> Listed:
        self._rows.check(place, row, known)
        head = self._rows.open_head(place, row)
        return Listed(prefix.bucket, path_of(prefix.below(*components)), components, place, row, head)

    def _named(self, root: Place, row: ObjectRow) -> tuple[tuple[str, ...], Place]:
        """Return where a row's name leads from a directory."""
        depth = len(root.name)
        if row.bucket != root.bucket or row.name[:depth] != root.name or row.action != "put":
            raise IntegrityError("the validator listed the row of another directory")
        return open_path(self._session.keys, root, row.name[depth:])

    def _entry(self, listed: Listed) -> Entry:
        head = listed.head
        return Entry(
            listed.path,
            is_dir=False,
            size=head.size,
            mode=head.mode,
            mtime_us=head.mtime_us,
            hash=head.hash,
            version=listed.row.version,
        )


def _check_order(page: ListAnswer, root: Place, after: tuple[bytes, ...] | None, *, deep: bool) -> None:
    """Check that a page comes behind the one before it (PROTOCOL §3.4, order of names).

    Raises ProtocolError unless its rows and its prefixes increase from ``after`` on and it goes on after its last.
    """
    if deep and page.prefixes:
        raise ProtocolError("the validator folded names that it was asked to list")
    start = ordered(root.name if after is None else after)
    rows = [ordered(row.name) for row in page.rows]
    folders = [ordered((*root.name, prefix)) for prefix in page.prefixes]
    for names in (rows, folders):
        if any(one >= other for one, other in pairwise([start, *names])):
            raise ProtocolError("the validator's listing is out of order")
    if page.after is not None and ordered(page.after) != max([*rows, *folders], default=b""):
        raise ProtocolError("the validator's listing does not move on behind its last name")
