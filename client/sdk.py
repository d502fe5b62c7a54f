"""``AsyncClient``: what programs call. The blocking facade is hippy.client.sync_client.

Owns the verbs: what each means for one object or a tree, and what is said when it cannot be done. Leaves moving
bytes to hippy.client.put and hippy.client.get. A call about one object raises; a call about many returns what it
achieved, with failures by path, and raises only what no other file would escape.

Example::

    async with AsyncClient.open() as client:
        await client.put(Path("model.bin"), "hippy://models/v1/model.bin")
        data = await client.get("hippy://models/v1/model.bin")
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hippy.client.file_errors import shown
from hippy.client.get import Getter, Wanted
from hippy.client.home import Credentials, find_credentials, find_home
from hippy.client.listing import Listed, Listing, path_of
from hippy.client.manifest import INLINE_BYTES_MAX
from hippy.client.names import Place, open_bucket, seal_path
from hippy.client.progress import Progress, SilentProgress
from hippy.client.put import Item, Putter
from hippy.client.results import Account, DeleteResult, Entry, Failure, GetResult, PutResult
from hippy.client.rows import Draft, Rows
from hippy.client.seen import SEEN_FILE, SeenRows
from hippy.client.session import Session, open_session
from hippy.client.sinks import MemorySink, Sink, StreamSink, file_at, file_below, make_directory
from hippy.client.sources import Source, SpooledSource, source_of
from hippy.client.uri import Uri, parse_uri
from hippy.client.walk import Walk, walk_directory
from hippy.clock import Clock, SystemClock
from hippy.erasure.geometry import LOCAL, STANDARD, Profile, parse_profile
from hippy.errors import ConflictError, HippyError, NotFoundError, TemporaryError, UsageError
from hippy.identity import ss58_encode

STANDARD_MINERS_MIN = 30
"""Independent miners from which on the standard profile is the default."""

AUTO = "auto"
MANIFESTS_AT_ONCE = 5000
"""Files of a directory whose manifests are in memory together; segments are shared among these."""

PathLike = str | Path
EntryList = list[Entry]
NameList = list[str]
EntryFailures = list[Failure]
"""Named here, because inside the class ``list`` is the method."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Something to store; ``label`` names it in failures."""

    label: str
    target: Uri
    source: Source


class AsyncClient:
    """An open client of one account. Made by :meth:`open`."""

    def __init__(self, session: Session, profile: str, progress: Progress) -> None:
        self._session = session
        self._profile_name = profile
        self._progress = progress
        self._rows = Rows(session)
        self._listing = Listing(session, self._rows)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        credentials: Credentials | None = None,
        *,
        profile: str = AUTO,
        progress: Progress | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> AsyncIterator[AsyncClient]:
        """Connect as ``credentials``, by default those of the login or of the running local network.

        ``profile`` is ``auto``, a profile's name or ``k/n``. Credentials that were found also find the versions of
        objects that earlier sessions have seen; given ones know of this session's only.

        Raises ConfigError, UsageError, TemporaryError.
        """
        if profile != AUTO:
            parse_profile(profile)
        # Chance spreads retries only; every key, salt and nonce comes from the machine's own randomness.
        chance = rng or random.Random()  # noqa: S311
        found, seen = await asyncio.to_thread(_found, credentials)
        try:
            async with open_session(found, clock or SystemClock(), chance, seen) as session:
                yield cls(session, profile, progress or SilentProgress())
        finally:
            await asyncio.to_thread(seen.close)

    async def put(self, what: PathLike | bytes | BinaryIO, uri: str, *, if_absent: bool = False) -> PutResult:
        """Store a file, bytes or what a stream has; below a URI with a trailing slash under the file's name.

        Raises ConflictError when ``if_absent`` is asked for and an object is there; NotFoundError, QuotaError,
        TemporaryError.
        """
        target = parse_uri(uri)
        source, name = await asyncio.to_thread(source_of, what)
        try:
            if target.slash and name is None:
                raise UsageError(f"{uri} names a directory, and the data has no name", hint="name the object")
            if target.slash and name is not None:
                target = target.below(name)
            result = await self._put([_Given(path_of(target), target, source)], if_absent=if_absent)
        finally:
            if isinstance(source, SpooledSource):
                source.file.close()
        if result.failures:
            raise result.failures[0].error
        return result

    async def put_dir(
        self, directory: PathLike, uri: str, *, exclude: Collection[str] = (), if_absent: bool = False
    ) -> PutResult:
        """Store everything in a directory below a URI; ``exclude`` has names to leave out wherever they occur.

        Symlinks are left out and named in the result, as is every file that could not be stored.
        """
        target = parse_uri(uri)
        walk = await asyncio.to_thread(walk_directory, Path(directory), exclude=frozenset(exclude))
        found = [_Given(shown(file.components), target.below(*file.components), file.source) for file in walk.files]
        return await self._put(found, if_absent=if_absent, walk=walk)

    async def get(self, uri: str) -> bytes:
        """Return an object's bytes.

        Raises NotFoundError, IntegrityError, TemporaryError.
        """
        sink = MemorySink()
        await self._get_one(uri, lambda: sink)
        return sink.data

    async def get_file(self, uri: str, path: PathLike) -> GetResult:
        """Bring an object to a file, or into a directory under its own name; it appears whole or not at all.

        A symbolic link is followed, missing directories are made. Raises UsageError when something that is no
        regular file is in the way.
        """
        target = await asyncio.to_thread(file_at, Path(path), parse_uri(uri).name)
        return await self._get_one(uri, file_below(target.parent, (target.name,)))

    async def get_to(self, uri: str, stream: BinaryIO) -> GetResult:
        """Write an object to an open stream; an IntegrityError may come after its first bytes."""
        return await self._get_one(uri, lambda: StreamSink(stream))

    async def get_range(self, uri: str, offset: int, length: int) -> bytes:
        """Return ``length`` bytes of an object from ``offset`` on, fewer where it ends."""
        found = await self._rows.read_one(*self._object(uri))
        return await Getter(self._session, self._progress).read_range(found.manifest, offset, length)

    async def get_dir(self, uri: str, directory: PathLike) -> GetResult:
        """Bring everything below a URI into a directory, which is made where it is missing.

        Raises NotFoundError when there is nothing below it.
        """
        began = time.monotonic()
        prefix, root = parse_uri(uri), Path(directory)
        listed = await self._listing.below(prefix)
        if not listed:
            raise NotFoundError(f"there is nothing below {prefix}")
        await asyncio.to_thread(make_directory, root)
        self._begin("downloading", sum(self._listing.head(each).size for each in listed))
        gone: EntryFailures = []
        getter = Getter(self._session, self._progress)
        for start in range(0, len(listed), MANIFESTS_AT_ONCE):
            wanted = await self._wanted(listed[start : start + MANIFESTS_AT_ONCE], root, gone)
            await getter.run(wanted)
        totals = getter.totals
        seconds = time.monotonic() - began
        return GetResult(totals.files, totals.bytes, totals.segments, seconds, (*gone, *totals.failures))

    async def list(self, uri: str, *, recursive: bool = False) -> EntryList:
        """Return what is below a URI: its children, or with ``recursive`` every object, by its path in the bucket.

        A URI of an object lists that object. Raises NotFoundError when there is nothing.
        """
        target = parse_uri(uri)
        entries = await self._listing.entries(target, recursive=recursive)
        if not target.slash:
            entries = [*await self._listing.object_itself(target), *entries]
        if not entries and target.components:
            raise NotFoundError(f"there is nothing at {target}")
        return entries

    async def head(self, uri: str) -> Entry:
        """Return what is known of an object without reading it.

        Raises NotFoundError.
        """
        place, label = self._object(uri)
        found = await self._rows.read_one(place, label)
        manifest = found.manifest
        return Entry(
            path_of(parse_uri(uri)),
            is_dir=False,
            size=manifest.size,
            mode=manifest.mode,
            mtime_us=manifest.mtime_us,
            hash=manifest.hash,
            version=found.row.version,
        )

    async def delete(self, uri: str, *, recursive: bool = False) -> DeleteResult:
        """Delete an object, or with ``recursive`` everything at and below a URI.

        Raises NotFoundError when there is nothing to delete.
        """
        target = parse_uri(uri)
        if recursive:
            listed = await self._listing.below(target)
            labels = [entry.path for entry in listed]
            drafts = [Draft(entry.place, None) for entry in listed]
        else:
            labels, drafts = [], []
        if not recursive or (target.components and await self._listing.object_itself(target)):
            place, label = self._object(str(target).removesuffix("/") if recursive else uri)
            await self._rows.read_one(place, label)
            labels.append(label)
            drafts.append(Draft(place, None))
        if not drafts:
            raise NotFoundError(f"there is nothing at {target}")
        errors = await self._rows.write(drafts)
        failures = tuple(Failure(label, error) for label, error in zip(labels, errors, strict=True) if error)
        if failures and not recursive:
            raise failures[0].error
        return DeleteResult(len(drafts) - len(failures), failures)

    async def buckets(self) -> NameList:
        """Return the names of the account's buckets, sorted."""
        names = [open_bucket(self._session.keys, each) for each in await self._session.api.buckets()]
        return sorted(names)

    async def whoami(self) -> Account:
        """Return who we are and what our home validator says of us."""
        status = await self._session.api.account_status()
        return Account(
            account=ss58_encode(self._session.keys.account),
            pay_class=status.pay_class,
            quota_bytes=status.quota_bytes,
            used_bytes=status.used_bytes,
            validator=str(self._session.api.peer),
            network=self._session.network.hex(),
        )

    async def profile(self) -> Profile:
        """Return the profile that a put would use now.

        Raises TemporaryError when it has more pieces than there are live independent miners.
        """
        miners = await self._session.miners.independent_count()
        profile = self._profile_for(miners)
        if profile.n > miners:
            raise TemporaryError(
                f"the code {profile} needs {profile.n} independent miners, {miners} are live",
                hint=f"wait for more miners, or choose a smaller code{_smaller_code(miners)}",
            )
        return profile

    async def _wanted(self, listed: Sequence[Listed], root: Path, gone: EntryFailures) -> Sequence[Wanted]:
        """Return what to get of listed objects; those that were deleted meanwhile are added to ``gone``."""
        wanted = []
        for entry, found in zip(listed, await self._rows.read([each.place for each in listed]), strict=True):
            label = entry.path
            if found is None:
                gone.append(Failure(label, NotFoundError(f"{label} was deleted meanwhile")))
            else:
                wanted.append(Wanted(label, found.manifest, file_below(root, entry.components)))
        return wanted

    def _begin(self, stage: str, total_bytes: int) -> None:
        self._progress.stage(stage)
        self._progress.total(total_bytes)

    async def _put(self, given: Sequence[_Given], *, if_absent: bool, walk: Walk | None = None) -> PutResult:
        began = time.monotonic()
        items, failures = self._items(given)
        self._begin("uploading", sum(item.source.size for item in items))
        is_stored = any(item.source.size > INLINE_BYTES_MAX for item in items)  # the rest rides in manifests
        profile = await self.profile() if is_stored else self._profile_for(0)
        putter = Putter(self._session, profile, self._progress, if_absent=if_absent)
        totals = await putter.run(items)
        return PutResult(
            files=totals.files,
            bytes=totals.bytes,
            stored_bytes=totals.stored_bytes,
            segments=totals.segments,
            seconds=time.monotonic() - began,
            missing_pieces=totals.missing_pieces,
            failures=(*(walk.failures if walk else ()), *failures, *totals.failures),
            symlinks=walk.symlinks if walk else (),
        )

    def _items(self, given: Sequence[_Given]) -> tuple[Sequence[Item], Sequence[Failure]]:
        """Return what can be stored; names that are no names in the network, or come twice, are failures."""
        items, failures = [], []
        taken: set[tuple[bytes, ...]] = set()
        for each in given:
            try:
                place = seal_path(self._session.keys, each.target.bucket, each.target.components)
                if place.name in taken:
                    raise ConflictError("another file has this name in another Unicode form")
            except HippyError as error:
                failures.append(Failure(each.label, error))
                continue
            taken.add(place.name)
            items.append(Item(each.label, place, each.source))
        return items, failures

    def _profile_for(self, miners: int) -> Profile:
        if self._profile_name != AUTO:
            return parse_profile(self._profile_name)
        return STANDARD if miners >= STANDARD_MINERS_MIN else LOCAL

    def _object(self, uri: str) -> tuple[Place, str]:
        """Return the place of the object a URI names, and its name for people."""
        target = parse_uri(uri)
        if target.slash:
            raise UsageError(f"{target} names a directory", hint="use the call for directories (-r)")
        return seal_path(self._session.keys, target.bucket, target.components), str(target)

    async def _get_one(self, uri: str, make_sink: Callable[[], Sink]) -> GetResult:
        began = time.monotonic()
        place, label = self._object(uri)
        found = await self._rows.read_one(place, label)
        self._begin("downloading", found.manifest.size)
        totals = await Getter(self._session, self._progress).run([Wanted(label, found.manifest, make_sink)])
        if totals.failures:
            raise totals.failures[0].error
        return GetResult(totals.files, totals.bytes, totals.segments, time.monotonic() - began)


def _smaller_code(miners: int) -> str:
    return f": --ec {(miners + 1) // 2}/{miners}" if miners > 1 else ""


def _found(credentials: Credentials | None) -> tuple[Credentials, SeenRows]:
    """Return whom to act as, and what to remember."""
    if credentials is not None:
        return credentials, SeenRows()
    found = find_credentials()
    return found, SeenRows(find_home().state / SEEN_FILE, found.network, found.account)
