"""Pages of a log for followers, made of stored bytes without parsing any (PROTOCOL §5.7).

A page ends with a head that the home signed for its last record, so that a follower stores nothing that is not signed:
of its own log a home signs one wherever the page ends; of a log that we follow, the page ends where we have one.

A page may have 8 MiB of records and 32 MiB of manifests; ours stop earlier, so that neither end holds so much at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hippy.errors import TemporaryError
from hippy.hashing import u32
from hippy.ids import PublicKey
from hippy.kv import Reader
from hippy.validator.following.replica import SIGNED, newest_signed, progress, reader_of
from hippy.validator.log import Home, read_entry, read_head
from hippy.validator.tables import LOG, MANIFEST, PRIVATE, ordered
from hippy.wire.log import LOG_PAGE_MAX, LogHead

RECORDS_BYTES: Final = 2 * 1024 * 1024
MANIFESTS_BYTES: Final = 4 * 1024 * 1024
PAGE_BYTES_USUAL: Final = RECORDS_BYTES + MANIFESTS_BYTES
"""What a page takes at most, unless one record alone is longer."""

_BODY_ID: Final = slice(len(b'{"record":{"body_id":"'), len(b'{"record":{"body_id":"') + 64)
_KIND: Final = b'"kind":"'


class _Entry(NamedTuple):
    """A whole entry in canonical spelling; the manifest of a row that is current."""

    seq: int
    spelling: bytes
    manifest: bytes | None


def encode_own_page(reader: Reader, home: Home, after: int) -> bytes:
    """Return the follow-page behind record ``after`` of our own log, as parts."""
    newest = read_head(reader)
    if newest is None or after >= newest.seq:
        return _spell(home.hotkey, [], newest, 0 if newest is None else newest.seq)
    entries = _entries(reader, after, newest.seq)
    head = newest if entries[-1].seq == newest.seq else _sign(reader, home, entries[-1].seq)
    return _spell(home.hotkey, entries, head, newest.seq)


def encode_followed_page(reader: Reader, home: PublicKey, after: int) -> bytes:
    """Return the follow-page behind record ``after`` of a log that we follow, as parts.

    Raises TemporaryError where we have records and no signed head near enough.
    """
    replica = reader_of(reader, home)
    end, newest = progress(replica).at.seq, newest_signed(replica)
    if newest is None or after >= end:
        return _spell(home, [], newest, end)
    entries = _entries(replica, after, end)
    head = None
    for key, value in replica.scan(SIGNED, SIGNED + ordered(after)):
        if int.from_bytes(key[len(SIGNED) :], "big") > entries[-1].seq:
            break
        head = value
    if head is None:
        raise TemporaryError("the home signed no head of a record that near", hint="ask the home")
    signed = LogHead.parse(head)
    return _spell(home, [entry for entry in entries if entry.seq <= signed.seq], signed, end)


def _sign(reader: Reader, home: Home, seq: int) -> LogHead:
    """Return a head of one of our records that is not the newest."""
    record = read_entry(reader, seq).record
    head = LogHead(home=home.hotkey, netuid=home.netuid, term=record.term, seq=seq, head=record.id(home.network))
    return head.signed(home.identity, home.network)


def _entries(reader: Reader, after: int, end: int) -> list[_Entry]:
    """Return the entries behind ``after`` that fit a page, at least one."""
    entries, records_room, manifests_room = list[_Entry](), RECORDS_BYTES, MANIFESTS_BYTES
    for key, value in reader.scan(LOG, LOG + ordered(after)):
        seq = int.from_bytes(key[len(LOG) :], "big")
        entry = _entry(reader, seq, value)
        records_room -= len(entry.spelling)
        manifests_room -= len(entry.manifest or b"")
        if seq > end or len(entries) == LOG_PAGE_MAX or (entries and min(records_room, manifests_room) < 0):
            break
        entries.append(entry)
    return entries


def _entry(reader: Reader, seq: int, public: bytes) -> _Entry:
    """Return a stored entry with what is kept beside it, put where canonical spelling has it."""
    start = public.index(_KIND) + len(_KIND)
    kind = public[start : public.index(b'"', start)]
    private = reader.get(PRIVATE + ordered(seq))
    if private is None:
        return _Entry(seq, public, None)
    if kind == b"row":  # behind the record
        body_id = bytes.fromhex(public[_BODY_ID].decode("ascii"))
        return _Entry(seq, public[:-1] + b',"row":' + private + b"}", reader.get(MANIFEST + body_id))
    name = b"envelopes" if kind == b"segment" else kind
    return _Entry(seq, b'{"' + name + b'":' + private + b"," + public[1:], None)


def _spell(home: PublicKey, entries: Sequence[_Entry], head: LogHead | None, newest_seq: int) -> bytes:
    """Return message and manifests as one body."""
    places = [(place, entry.manifest) for place, entry in enumerate(entries) if entry.manifest is not None]
    spelt = b",".join(b'{"entry":%d,"length":%d}' % (place, len(manifest)) for place, manifest in places)
    message = b"".join(
        [
            b'{"entries":[',
            b",".join(entry.spelling for entry in entries),
            b"]" if head is None else b'],"head":' + head.encode(),
            b',"home":"' + home.hex().encode() + b'","manifests":[',
            spelt,
            b'],"newest_seq":%d}' % newest_seq,
        ]
    )
    return b"".join([u32(len(message)), message, *(manifest for _, manifest in places)])
