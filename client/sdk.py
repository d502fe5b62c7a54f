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
from pathlib import Path
from typing import BinaryIO

from hippy.client.buckets import bucket_name, list_buckets, write_bucket
from hippy.client.checking import Checker, health_of
from hippy.client.copying import Copier, check_apart
from hippy.client.fetching import Fetches, ToFetch
from hippy.client.file_errors import shown
from hippy.client.finding import Query, with_directories
from hippy.client.get import Getter, Wanted
from hippy.client.given import Given, items_of
from hippy.client.home import Credentials, find_credentials, find_home
from hippy.client.listing import Listed, Listing, path_of
from hippy.client.manifest import INLINE_BYTES_MAX
from hippy.client.matching import Matching
from hippy.client.names import Place, seal_path
from hippy.client.patterns import Filter
from hippy.client.profiles import AUTO, Profiles
from hippy.client.progress import Progress, SilentProgress
from hippy.client.put import Putter
from hippy.client.results import (
    Account,
    CheckResult,
    CopyResult,
    DeleteResult,
    Entry,
    Failure,
    GetResult,
    Pair,
    PutResult,
    Usage,
)
from hippy.client.rows import ReadRow, Rows
from hippy.client.seen import SEEN_FILE, SeenRows
from hippy.client.session import Session, open_session
from hippy.client.sinks import MemorySink, Sink, StreamSink, file_at, file_below, make_directory
from hippy.client.sources import SpooledSource, source_of
from hippy.client.uri import parse_uri
from hippy.client.usage import Usages, stored_lengths
from hippy.client.walk import Walk, walk_directory
from hippy.client.writing import Draft, RowWriter
from hippy.clock import Clock, SystemClock
from hippy.erasure.geometry import Profile, parse_profile
from hippy.errors import NotFoundError, UsageError
from hippy.identity import ss58_encode

MANIFESTS_AT_ONCE = 5000
"""Files of a directory whose manifests are in memory together; segments are shared among these."""

PathLike = str | Path
EntryList = list[Entry]
NameList = list[str]
EntryFailures = list[Failure]
PairList = list[Pair]
UsageList = list[Usage]
"""Named here, because inside the class ``list`` is the method."""


class AsyncClient:
    """An open client of one account. Made by :meth:`open`."""

    def __init__(self, session: Session, profile: str, progress: Progress) -> None:
        self._session = session
        self._profiles = Profiles(session, profile)
        self._progress = progress
        self._rows = Rows(session)
        self._writer = RowWriter(session, self._rows)
        self._listing = Listing(session, self._rows)
        self._matching = Matching(self._listing)
        self._fetches = Fetches(self._listing, self._matching)
        self._copier = Copier(session, self._rows, self._writer, self._listing, progress)

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
        source, name = await asyncio.to_thread(source_of, what, int(self._session.clock.now() * 1e6))
        try:
            if target.slash and name is None:
                raise UsageError(f"{uri} names a directory, and the data has no name", hint="name the object")
            if target.slash and name is not None:
                target = target.below(name)
            result = await self._put([Given(path_of(target), target, source)], if_absent=if_absent)
        finally:
            if isinstance(source, SpooledSource):
                source.file.close()
        if result.failures:
            raise result.failures[0].error
        return result

    async def put_dir(
        self,
        directory: PathLike,
        uri: str,
        *,
        exclude: Collection[str] = (),
        include: Collection[str] = (),
        if_absent: bool = False,
    ) -> PutResult:
        """Store the files in a directory below a URI: all, or those that hippy.client.patterns.Filter keeps.

        Symlinks are left out and named in the result, as is every file that could not be stored.
        """
        target = parse_uri(uri)
        walk = await asyncio.to_thread(walk_directory, Path(directory), exclude=exclude, include=include)
        found = [Given(shown(file.components), target.below(*file.components), file.source) for file in walk.files]
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
        found = await self._read(uri)
        return await Getter(self._session, self._progress).read_range(found.manifest, offset, length)

    async def get_dir(
        self, uri: str, directory: PathLike, *, exclude: Collection[str] = (), include: Collection[str] = ()
    ) -> GetResult:
        """Bring everything below a URI into a directory, which is made where it is missing.

        ``exclude`` and ``include`` choose as in put_dir. An object whose row is altered fails alone. Raises
        NotFoundError when there is nothing below it.
        """
        began = time.monotonic()
        chosen = Filter(include=tuple(include), exclude=tuple(exclude))
        return await self._get_listed(await self._fetches.below(parse_uri(uri), chosen), Path(directory), began)

    async def get_glob(
        self,
        uri: str,
        directory: PathLike,
        *,
        recursive: bool = False,
        exclude: Collection[str] = (),
        include: Collection[str] = (),
    ) -> GetResult:
        """Bring the objects that a pattern matches into a directory, each under its own name.

        With ``recursive`` matching directories come too, whole. Raises NotFoundError when nothing matches, UsageError
        when two would become one file.
        """
        began = time.monotonic()
        chosen = Filter(include=tuple(include), exclude=tuple(exclude))
        found = await self._fetches.matching(parse_uri(uri), chosen, recursive=recursive)
        return await self._get_listed(found, Path(directory), began)

    async def plan_get(
        self, uri: str, *, recursive: bool = False, exclude: Collection[str] = (), include: Collection[str] = ()
    ) -> PairList:
        """Return what get_dir (with ``recursive``), get_glob or get_file would bring, and to which relative path.

        Raises NotFoundError, IntegrityError when the row of one of them is altered.
        """
        target, chosen = parse_uri(uri), Filter(include=tuple(include), exclude=tuple(exclude))
        if await self._matching.is_pattern(target):
            found = await self._fetches.matching(target, chosen, recursive=recursive)
        elif recursive:
            found = await self._fetches.below(target, chosen)
        else:
            entry = await self.head(uri)
            return [Pair(str(target), target.name, entry.size)]
        if found.failures:
            raise found.failures[0].error
        return [Pair(each.uri, "/".join(each.components), each.head.size) for each in found.listed]

    async def list(self, uri: str, *, recursive: bool = False) -> EntryList:
        """Return what is below a URI: its children, or with ``recursive`` every object, by its path in the bucket.

        A URI of an object lists that object. Raises NotFoundError when there is nothing; a bucket may be empty.
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
        found = await self._read(uri)
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

    async def glob(self, uri: str, *, directories: bool = False) -> EntryList | None:
        """Return the objects, and if asked for the directories, that a pattern matches (hippy.client.patterns).

        None for a URI that has no pattern, or that is there exactly as it is written. Raises NotFoundError when nothing
        matches.
        """
        target = parse_uri(uri)
        if not await self._matching.is_pattern(target):
            return None
        return await self._matching.found(target, directories=directories)

    async def find(self, uri: str, query: Query) -> EntryList:
        """Return the objects and directories below a URI that a query finds, sorted by path.

        Raises NotFoundError as :meth:`list` does.
        """
        target = parse_uri(uri)
        objects = await self.list(uri, recursive=True)
        return [entry for entry in with_directories(objects, len(target.components)) if query.finds(entry)]

    async def du(self, uri: str, *, stored: bool = True) -> UsageList:
        """Return what a URI and every directory below it hold; the URI's own is the first.

        ``stored`` False leaves out what it takes in the network, for which segment records are read.

        Raises NotFoundError as :meth:`list` does.
        """
        target = parse_uri(uri)
        usages = Usages(path_of(target))
        for listed in await self._listing.listed_itself(target):
            usages.add(listed)
        async for listed in self._listing.below(target):
            usages.add(listed)
        if not usages.objects and target.components:
            raise NotFoundError(f"there is nothing at {target}", hint="hippy ls shows what there is")
        return usages.sums(await stored_lengths(self._session, usages.segments()) if stored else None)

    async def check(self, uri: str, *, recursive: bool = False) -> CheckResult:
        """Ask every miner that holds a piece of an object, or of all at and below a URI, for a random leaf.

        Raises NotFoundError when there is nothing.
        """
        result = await self.check_many([uri], recursive=recursive)
        if result.failures and not result.objects:
            raise result.failures[0].error
        return result

    async def check_many(self, uris: Sequence[str], *, recursive: bool = False) -> CheckResult:
        """Check the objects at, or with ``recursive`` all at and below, many URIs; failures by URI or path."""
        began = time.monotonic()
        for uri in uris:
            if not recursive:
                self._object(uri)
        listed, failures = await self._listing.all_of([parse_uri(uri) for uri in uris], recursive=recursive)
        segments = await Checker(self._session, self._progress).run(listed)
        health = tuple(health_of(each, segments) for each in listed)
        return CheckResult(health, len(segments), time.monotonic() - began, tuple(failures))

    async def delete(self, uri: str, *, recursive: bool = False) -> DeleteResult:
        """Delete an object, or with ``recursive`` everything at and below a URI.

        Raises NotFoundError when there is nothing to delete.
        """
        result = await self.delete_many([uri], recursive=recursive)
        if result.failures and not (recursive and result.files):
            raise result.failures[0].error
        return result

    async def delete_many(self, uris: Sequence[str], *, recursive: bool = False) -> DeleteResult:
        """Delete objects, or with ``recursive`` everything at and below each URI; failures by URI or path."""
        for uri in uris:
            if not recursive:
                self._object(uri)
        listed, failures = await self._listing.all_of([parse_uri(uri) for uri in uris], recursive=recursive)
        errors = await self._writer.write([Draft(each.place, None, replaces=each.row) for each in listed])
        refused = [Failure(each.path, error) for each, error in zip(listed, errors, strict=True) if error]
        return DeleteResult(len(listed) - len(refused), (*failures, *refused))

    async def copy(self, source: str, target: str, *, recursive: bool = False, if_absent: bool = False) -> CopyResult:
        """Copy an object, or with ``recursive`` everything below a URI, without moving its data.

        Where the target ends in a slash an object goes below it under its own name; what is below ``source`` always
        goes below ``target``. Raises NotFoundError, UsageError when a target is a source; of one object its error.
        """
        pairs = await self.plan_copy(source, target, recursive=recursive)
        return _one_or_all(await self.copy_planned(pairs, if_absent=if_absent), recursive=recursive)

    async def move(self, source: str, target: str, *, recursive: bool = False, if_absent: bool = False) -> CopyResult:
        """Move as :meth:`copy` copies: each object is deleted once its copy is durable, unless it changed meanwhile."""
        pairs = await self.plan_copy(source, target, recursive=recursive)
        return _one_or_all(await self.copy_planned(pairs, if_absent=if_absent, move=True), recursive=recursive)

    async def plan_copy(self, source: str, target: str, *, recursive: bool = False) -> PairList:
        """Return what a copy or move would copy, and to where; raises what :meth:`copy` raises before it begins."""
        return await self._copier.plan(parse_uri(source), parse_uri(target), recursive=recursive)

    async def copy_planned(self, pairs: Sequence[Pair], *, if_absent: bool = False, move: bool = False) -> CopyResult:
        """Copy or move what several plans named.

        Raises UsageError when a target is a source or is named twice.
        """
        check_apart(pairs)
        totals = await self._copier.copy(pairs, if_absent=if_absent, move=move)
        return CopyResult(totals.files, totals.bytes, tuple(totals.failures))

    async def buckets(self) -> NameList:
        """Return the names of the account's buckets, sorted."""
        return await list_buckets(self._session)

    async def create_bucket(self, name: str) -> bool:
        """Make a bucket, which stays when it is empty; return whether there was one already."""
        return await write_bucket(self._session, bucket_name(name), "create")

    async def delete_bucket(self, name: str) -> None:
        """Unmake an empty bucket.

        Raises ConflictError when objects are in it, NotFoundError when nobody made it.
        """
        await write_bucket(self._session, bucket_name(name), "delete")

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
        return await self._profiles.available()

    async def _get_listed(self, found: ToFetch, root: Path, began: float) -> GetResult:
        """Bring listed objects below a directory, a limited number of manifests at a time."""
        await asyncio.to_thread(make_directory, root)
        self._begin("downloading", sum(each.head.size for each in found.listed))
        failures = found.failures
        getter = Getter(self._session, self._progress)
        for start in range(0, len(found.listed), MANIFESTS_AT_ONCE):
            await getter.run(await self._wanted(found.listed[start : start + MANIFESTS_AT_ONCE], root, failures))
        totals = getter.totals
        seconds = time.monotonic() - began
        return GetResult(totals.files, totals.bytes, totals.segments, seconds, (*failures, *totals.failures))

    async def _wanted(self, listed: Sequence[Listed], root: Path, failures: EntryFailures) -> Sequence[Wanted]:
        """Return what to get of listed objects; those that are gone or altered are added to ``failures``."""
        wanted = []
        for entry, found in zip(listed, await self._rows.read([each.place for each in listed]), strict=True):
            if isinstance(found, ReadRow):
                wanted.append(Wanted(entry.path, found.manifest, file_below(root, entry.components)))
            else:
                gone = NotFoundError(f"{entry.path} was deleted meanwhile", hint="hippy ls shows what is there now")
                failures.append(Failure(entry.path, found or gone))
        return wanted

    def _begin(self, stage: str, total_bytes: int) -> None:
        self._progress.stage(stage)
        self._progress.total(total_bytes)

    async def _put(self, given: Sequence[Given], *, if_absent: bool, walk: Walk | None = None) -> PutResult:
        began = time.monotonic()
        items, failures = items_of(given, self._session.keys)
        self._begin("uploading", sum(item.source.size for item in items))
        is_stored = any(item.source.size > INLINE_BYTES_MAX for item in items)  # the rest rides in manifests
        profile = await self._profiles.available() if is_stored else self._profiles.wanted(0)
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

    def _object(self, uri: str) -> tuple[Place, str]:
        """Return the place of the object a URI names, and its name for people."""
        target = parse_uri(uri)
        if target.slash:
            raise UsageError(f"{target} names a directory", hint="use the call for directories (-r)")
        return seal_path(self._session.keys, target.bucket, target.components), str(target)

    async def _read(self, uri: str) -> ReadRow:
        """Return the row of the object a URI names; whether a directory is there instead, the error's hint says."""
        place, label = self._object(uri)
        try:
            return await self._rows.read_one(place, label)
        except NotFoundError as error:
            error.hint = await self._listing.hint_at(parse_uri(uri))
            raise

    async def _get_one(self, uri: str, make_sink: Callable[[], Sink]) -> GetResult:
        began = time.monotonic()
        found = await self._read(uri)
        self._begin("downloading", found.manifest.size)
        wanted = Wanted(str(parse_uri(uri)), found.manifest, make_sink)
        totals = await Getter(self._session, self._progress).run([wanted])
        if totals.failures:
            raise totals.failures[0].error
        return GetResult(totals.files, totals.bytes, totals.segments, time.monotonic() - began)


def _one_or_all(result: CopyResult, *, recursive: bool) -> CopyResult:
    """Return a result; of one object, raise why it failed."""
    if result.failures and not recursive:
        raise result.failures[0].error
    return result


def _found(credentials: Credentials | None) -> tuple[Credentials, SeenRows]:
    """Return whom to act as, and what to remember."""
    if credentials is not None:
        return credentials, SeenRows()
    found = find_credentials()
    return found, SeenRows(find_home().state / SEEN_FILE, found.network, found.account)
