"""What is checked of a page of somebody's log before anything of it is stored (PROTOCOL §5.7). Pure, and slow.

Every body against its record, every record against the one before, the last against a head that the home signed; what
accounts and miners signed against their keys; manifests against their rows. That bodies fit what is there, the fold
checks (hippy.validator.following.fold). Not checked are the receipts of segments: whoever audits asks the miners, and
``hippy validator verify-weights`` checks receipts.

A page whose records do not continue what we have, while its home signed them, is no mistake but proof: it raises
:class:`EquivocationError` with the head. It belongs in a thread: a page of rows takes some 0.2 ms a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hippy.errors import IntegrityError
from hippy.hashing import digest
from hippy.ids import PublicKey
from hippy.validator.log import Home, Position, verify_chain, verify_head
from hippy.wire.follow import FollowPage
from hippy.wire.log import LogEntry, LogHead


class EquivocationError(IntegrityError):
    """The home signed another log than the one that it showed before; ``head`` is what it signed now."""

    def __init__(self, message: str, head: LogHead) -> None:
        super().__init__(message)
        self.head = head


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """Entries that continue what we have, with the manifests of their rows by seq; the head is of the last one.

    Without entries the head is the home's newest, which may be older than what we have.
    """

    entries: tuple[LogEntry, ...]
    manifests: Mapping[int, bytes] = field(default_factory=dict)
    head: LogHead | None = None


def check_page(page: FollowPage, blobs: Sequence[bytes], home: PublicKey, after: Position, us: Home) -> CheckedPage:
    """Return a page once it was checked to be the log of ``home`` behind ``after``.

    ``us`` is who asks, for network and subnet. Raises IntegrityError or AuthError for one that is not,
    EquivocationError for one that the home signed beside what it signed before.
    """
    if page.home != home or any(entry.record.home != home for entry in page.entries):
        raise IntegrityError("the page is of another home's log")
    if page.head is not None and (page.head.home, page.head.netuid) != (home, us.netuid):
        raise IntegrityError("the head is of another log")
    if not page.entries:
        if page.head is not None:
            page.head.check_signature(home, us.network)
        return _check_end(page.head, after)
    if page.head is None:
        raise IntegrityError("the page lacks the home's head of its last record")
    _check_chain(page.entries, page.head, home, after, us)
    for entry in page.entries:
        _check_whole(entry)
        _check_signatures(entry, us.network)
    return CheckedPage(page.entries, _check_manifests(page, blobs), page.head)


def _check_end(head: LogHead | None, after: Position) -> CheckedPage:
    """Check the answer that there is nothing behind ``after``; a head that is older is for others to judge."""
    if head is None and after.seq > 0:
        raise IntegrityError("the home shows no head of its log")
    if head is not None and head.seq > after.seq:
        raise IntegrityError("the home's log goes on, and the answer does not")
    if head is not None and head.seq == after.seq and head.head != after.head:
        raise EquivocationError(f"the home signed another record {head.seq} than the one it showed before", head)
    return CheckedPage((), head=head)


def _check_chain(entries: Sequence[LogEntry], head: LogHead, home: PublicKey, after: Position, us: Home) -> None:
    first = entries[0].record
    if first.seq != after.seq + 1:
        raise IntegrityError(f"the page begins with record {first.seq}, not with {after.seq + 1}")
    start = Position(after.seq, first.prev)
    verify_head(head, verify_chain(entries, us.network, after=start), home, us.network)
    if start != after:
        raise EquivocationError(f"record {first.seq} does not follow record {after.seq} as it was shown before", head)


def _check_whole(entry: LogEntry) -> None:
    """Raises IntegrityError unless the entry has the bodies that are for validators only, too."""
    record = entry.record
    if getattr(entry, record.kind) is None or (record.envelopes_id is not None and entry.envelopes is None):
        raise IntegrityError(f"log record {record.seq} lacks its body")


def _check_signatures(entry: LogEntry, network: bytes) -> None:
    """Check what accounts and miners signed within a body. Raises AuthError."""
    if entry.row is not None:
        entry.row.check_signature(entry.row.account, network)
    if entry.bucket is not None:
        entry.bucket.check_signature(entry.bucket.account, network)
    if entry.released is not None and entry.released.drop is not None:
        entry.released.drop.check_signature(entry.released.drop.account, network)
    if entry.loss is not None and entry.loss.report is not None:
        if entry.loss.report.miner != entry.loss.miner:
            raise IntegrityError(f"log record {entry.record.seq} shows another miner's report")
        entry.loss.report.check_signature(entry.loss.miner, network)
    if entry.drain is not None:
        entry.drain.check_signature(entry.drain.miner, network)
    if entry.home is not None:
        entry.home.check_signature(entry.home.account, network)


def _check_manifests(page: FollowPage, blobs: Sequence[bytes]) -> dict[int, bytes]:
    """Return manifests by the seq of their row, after checking that each is its row's."""
    found, last = dict[int, bytes](), -1
    for place, blob in zip(page.manifests, blobs, strict=True):
        if not last < place.entry < len(page.entries):
            raise IntegrityError("a manifest belongs to no entry of the page")
        row, last = page.entries[place.entry].row, place.entry
        if row is None or len(blob) != row.manifest_length or digest(blob) != row.manifest_hash:
            raise IntegrityError("a manifest is not its row's")
        found[page.entries[place.entry].record.seq] = blob
    return found
