"""Pages for followers are canonical, bounded, end at signed heads, and every altered one is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hippy.errors import AuthError, HippyError, IntegrityError, TemporaryError
from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import MessageId
from hippy.kv import Reader, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.accounts import apply_accounts
from hippy.validator.buckets import write_bucket
from hippy.validator.following import pages
from hippy.validator.following.checking import CheckedPage, EquivocationError, check_page
from hippy.validator.following.pages import encode_followed_page, encode_own_page
from hippy.validator.following.replica import (
    HEADS_EVERY,
    followed_homes,
    lacks_manifests,
    newest_signed,
    portions,
    progress,
    reader_of,
    take_over,
    transaction_of,
)
from hippy.validator.log import BEGINNING, Home, Position, position, scan_log
from hippy.validator.tables import claim
from hippy.wire.follow import FOLLOW_ANSWER_BYTES_MAX, FollowPage
from hippy.wire.log import LogEntry, LogHead
from hippy.wire.object import BucketRow
from hippy.wire.pace import USUAL_PACE
from hippy.wire.parts import parse_parts
from tests.validator.releasing import RICH, write
from tests.validator.test_quota_model import IDS
from tests.validator.world import ACCOUNT, HOME, NETWORK, NOW, committed, component, drop, row

FOLLOWER = Home(Identity.from_seed(b"f" * 32), NETWORK, HOME.netuid)


async def some_log() -> MemoryDatabase:
    """Return a registry whose log has records of the kinds that have private parts."""
    database = MemoryDatabase()
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    await database.transact(lambda txn: apply_accounts(txn, HOME, [RICH], NOW))
    await committed(database, 0)
    first = row("a", segment_ids=(IDS[0],))
    await write(database, first)
    await write(database, row("a", replaces=first, manifest=b"manifest"), drops=[drop(IDS[0])])
    await write(database, row("b"))
    bucket = BucketRow(account=ACCOUNT.public_key, bucket=component("x"), action="create", time=NOW)
    await database.transact(lambda txn: write_bucket(txn, HOME, bucket.signed(ACCOUNT, NETWORK), NOW))
    return database


async def page_of(database: MemoryDatabase, after: int = 0) -> tuple[FollowPage, list[bytes]]:
    return parse_parts(FollowPage, await database.read(lambda reader: encode_own_page(reader, HOME, after)))


def checked(page: FollowPage, blobs: list[bytes], after: Position = BEGINNING) -> CheckedPage:
    return check_page(page, blobs, HOME.hotkey, after, FOLLOWER)


async def taken(database: MemoryDatabase, page: CheckedPage) -> None:
    """Have a follower take a page over."""

    def work(txn: Transaction) -> None:
        for portion in portions(page):
            replica = transaction_of(txn, HOME.hotkey)
            take_over(replica, page=page, portion=portion, network=NETWORK, pace=USUAL_PACE, now=NOW)

    await database.transact(work)


async def test_a_page_spliced_of_stored_bytes_is_the_canonical_message_with_every_body() -> None:
    database = await some_log()
    page, blobs = await page_of(database)  # parsing refuses any other spelling
    assert list(page.entries) == await database.read(lambda reader: list(scan_log(reader)))
    end = await database.read(position)
    assert page.head is not None
    assert (page.head.seq, page.head.head, page.newest_seq) == (end.seq, end.head, end.seq)
    current = [
        entry.row is not None and entry.row.version + (entry.row.name[0] == component("b")) == 2
        for entry in page.entries
    ]
    assert [place.entry for place in page.manifests] == [at for at, is_current in enumerate(current) if is_current]
    assert blobs == [b"manifest"] * 2


async def test_nothing_new_is_told_with_the_newest_head() -> None:
    database = await some_log()
    end = await database.read(position)
    page, _ = await page_of(database, end.seq)
    assert (page.entries, page.head) == ((), (await page_of(database))[0].head)
    assert checked(page, [], end).entries == ()
    empty = MemoryDatabase()
    await empty.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    page, _ = await page_of(empty)
    assert (page.entries, page.head, page.newest_seq) == ((), None, 0)
    assert checked(page, []) == CheckedPage(())


@pytest.mark.parametrize("limit", ["records", "manifests", "count"])
async def test_a_page_that_ends_early_ends_with_a_head_that_the_home_signed_for_it(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, at, found = await some_log(), BEGINNING, list[LogEntry]()
    monkeypatch.setattr(
        pages,
        *{"records": ("RECORDS_BYTES", 1), "manifests": ("MANIFESTS_BYTES", 1), "count": ("LOG_PAGE_MAX", 2)}[limit],
    )
    while (page := await page_of(database, at.seq))[0].entries:
        good = checked(*page, at)
        assert good.head is not None
        at = Position(good.head.seq, good.head.head)
        found += good.entries
    assert found == await database.read(lambda reader: list(scan_log(reader)))
    if limit != "manifests":
        assert len(good.entries) < len(found)


Change = Callable[[FollowPage, list[bytes]], tuple[FollowPage, list[bytes]]]


def _entry(kind: str, **change: object) -> Change:
    """Alter a body of some kind."""

    def altered(page: FollowPage, blobs: list[bytes]) -> tuple[FollowPage, list[bytes]]:
        place = next(at for at, entry in enumerate(page.entries) if entry.record.kind == kind)
        entries = list(page.entries)
        body = getattr(entries[place], kind).model_copy(update=change)
        entries[place] = entries[place].model_copy(update={kind: body})
        return page.model_copy(update={"entries": tuple(entries)}), blobs

    return altered


def _without(kind: str, body: str) -> Change:
    def altered(page: FollowPage, blobs: list[bytes]) -> tuple[FollowPage, list[bytes]]:
        entries = tuple(
            entry.model_copy(update={body: None}) if entry.record.kind == kind else entry for entry in page.entries
        )
        return page.model_copy(update={"entries": entries}), blobs

    return altered


def _page(**change: object) -> Change:
    return lambda page, blobs: (page.model_copy(update=change), blobs)


def _head(page: FollowPage, **change: object) -> LogHead:
    assert page.head is not None
    return page.head.model_copy(update=change).signed(HOME.identity, NETWORK)


CHANGES: list[tuple[Change, type[HippyError]]] = [
    (_entry("row", version=7), IntegrityError),
    (_entry("account", quota_bytes=1), IntegrityError),
    (_entry("segment", committed_time=1), IntegrityError),
    (_without("row", "row"), IntegrityError),
    (_without("account", "account"), IntegrityError),
    (_without("bucket", "bucket"), IntegrityError),
    (_without("segment", "envelopes"), IntegrityError),
    (_page(home=FOLLOWER.hotkey), IntegrityError),
    (_page(head=None), IntegrityError),
    (lambda page, blobs: (page.model_copy(update={"head": _head(page, netuid=9)}), blobs), IntegrityError),
    (lambda page, blobs: (page.model_copy(update={"head": _head(page, seq=2)}), blobs), IntegrityError),
    (lambda page, blobs: (page.model_copy(update={"entries": page.entries[:-1]}), blobs), IntegrityError),
    (lambda page, blobs: (page.model_copy(update={"entries": page.entries[1:]}), blobs), IntegrityError),
    (
        lambda page, blobs: (
            page.model_copy(update={"entries": (page.entries[1], page.entries[0], *page.entries[2:])}),
            blobs,
        ),
        IntegrityError,
    ),
    (
        lambda page, blobs: (
            page.model_copy(update={"head": page.head.signed(FOLLOWER.identity, NETWORK) if page.head else None}),
            blobs,
        ),
        AuthError,
    ),
    (lambda page, blobs: (page, [b"Manifest", *blobs[1:]]), IntegrityError),
    (lambda page, blobs: (page.model_copy(update={"manifests": page.manifests[::-1]}), blobs), IntegrityError),
    (
        lambda page, blobs: (
            page.model_copy(
                update={"manifests": (page.manifests[0].model_copy(update={"entry": 0}), page.manifests[1])}
            ),
            blobs,
        ),
        IntegrityError,
    ),
]


@pytest.mark.parametrize(("change", "error"), CHANGES)
async def test_an_altered_page_is_refused(change: Change, error: type[HippyError]) -> None:
    page, blobs = await page_of(await some_log())
    checked(page, blobs)
    with pytest.raises(error) as caught:
        checked(*change(page, blobs))
    assert not isinstance(caught.value, EquivocationError)


async def test_a_row_that_the_account_did_not_sign_is_refused_though_its_home_logged_it() -> None:
    database = MemoryDatabase()
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    bucket = BucketRow(account=ACCOUNT.public_key, bucket=component("x"), action="create", time=NOW)
    await database.transact(lambda txn: write_bucket(txn, HOME, bucket, NOW))
    with pytest.raises(AuthError):
        checked(*await page_of(database))


async def test_records_that_go_on_beside_what_we_have_are_proof_and_a_broken_page_is_none() -> None:
    page, blobs = await page_of(await some_log(), 2)
    beside = Position(2, MessageId(digest(b"another record")))
    with pytest.raises(EquivocationError) as caught:
        checked(page, blobs, beside)
    assert caught.value.head == page.head
    with pytest.raises(IntegrityError) as broken:
        checked(page.model_copy(update={"entries": page.entries[:-1]}), blobs[:-1], beside)
    assert not isinstance(broken.value, EquivocationError)


async def test_a_followed_log_is_passed_on_as_far_as_the_home_signed_it() -> None:
    home, follower, third = await some_log(), MemoryDatabase(), MemoryDatabase()
    end = await home.read(position)
    for after in range(0, end.seq, 3):  # pages of three records, each with a head
        at = (await follower.read(lambda r: progress(reader_of(r, HOME.hotkey)))).at
        page, blobs = await page_of(home, after)
        cut = page.model_copy(
            update={
                "entries": page.entries[:3],
                "head": _head(page, seq=(last := page.entries[:3][-1].record).seq, head=last.id(NETWORK)),
                "manifests": tuple(place for place in page.manifests if place.entry < 3),
            }
        )
        await taken(follower, checked(cut, blobs[: len(cut.manifests)], at))
    assert await follower.read(lambda r: list(followed_homes(r))) == [HOME.hotkey]
    assert (await follower.read(lambda r: progress(reader_of(r, HOME.hotkey)))).at == end
    while (at := (await third.read(lambda r: progress(reader_of(r, HOME.hotkey)))).at) != end:
        raw = await follower.read(partial(encode_followed_page, home=HOME.hotkey, after=at.seq))
        await taken(third, checked(*parse_parts(FollowPage, raw), at))
    ours = await follower.read(_kept)
    assert await third.read(_kept) == ours
    assert len(ours) > 20


def _kept(reader: Reader) -> dict[bytes, bytes]:
    return {key: value for key, value in reader_of(reader, HOME.hotkey).scan(b"") if not key.startswith(b"signed/")}


async def test_a_row_without_its_manifest_is_wanted_until_it_is_replaced() -> None:
    home, follower = await some_log(), MemoryDatabase()
    page, blobs = await page_of(home)
    await taken(follower, checked(page.model_copy(update={"manifests": page.manifests[:1]}), blobs[:1]))
    assert await follower.read(lambda r: lacks_manifests(reader_of(r, HOME.hotkey)))
    at = (await follower.read(lambda r: progress(reader_of(r, HOME.hotkey)))).at
    await write(home, row("b", replaces=row("b"), manifest=b"manifest"))
    await taken(follower, checked(*await page_of(home, at.seq), at))
    assert not await follower.read(lambda r: lacks_manifests(reader_of(r, HOME.hotkey)))


async def test_heads_are_thinned_out_where_the_home_shows_many() -> None:
    home, follower = MemoryDatabase(), MemoryDatabase()
    await home.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    for number in range(3 * HEADS_EVERY):
        at = (await follower.read(lambda r: progress(reader_of(r, HOME.hotkey)))).at
        await write(home, row(f"name {number}"))
        await taken(follower, checked(*await page_of(home, at.seq), at))
    heads = await follower.read(lambda r: [key for key, _ in reader_of(r, HOME.hotkey).scan(b"signed/")])
    assert len(heads) <= 2 * 3 + 1
    newest = await follower.read(lambda r: newest_signed(reader_of(r, HOME.hotkey)))
    assert newest is not None
    assert newest.seq == 3 * HEADS_EVERY
    raw = await follower.read(lambda r: encode_followed_page(r, HOME.hotkey, 5))
    checked(*parse_parts(FollowPage, raw), (await home.read(lambda r: _position_of(r, 5))))


def _position_of(reader: Reader, seq: int) -> Position:
    entry = next(entry for entry in scan_log(reader) if entry.record.seq == seq)
    return Position(seq, entry.record.id(NETWORK))


async def test_a_page_of_a_followed_log_needs_a_head_near_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    home, follower = await some_log(), MemoryDatabase()
    await taken(follower, checked(*await page_of(home)))
    monkeypatch.setattr(pages, "LOG_PAGE_MAX", 2)
    with pytest.raises(TemporaryError, match="signed no head"):
        await follower.read(lambda r: encode_followed_page(r, HOME.hotkey, 0))


def test_no_page_is_longer_than_a_follower_takes() -> None:
    assert pages.PAGE_BYTES_USUAL < FOLLOW_ANSWER_BYTES_MAX / 2
