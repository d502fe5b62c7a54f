"""The table of limits in docs/PROTOCOL.md §9 says what the code does: every row of it is made here from constants."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.ids import Root
from hippy.miner.repairs import REPAIRS_BYTES_MAX, REPAIRS_PER_VALIDATOR_MAX
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import ENTRIES_MAX, AuditRequest, encode_request
from hippy.proofs.transcript import TRANSCRIPT_BYTES_MAX, TRANSCRIPT_ENTRIES_MAX
from hippy.transport import limits
from hippy.transport.limits import Rate, ServerLimits
from hippy.validator import rates
from hippy.validator.auditing.asking import ANSWER_BYTES_MAX
from hippy.validator.auditing.routes import EVIDENCE_PAGE_BYTES_MAX
from hippy.validator.following.desk import QUESTIONS_MAX
from hippy.validator.server import OUTBOX_BYTES_MAX
from hippy.wire import node, release, repair, score, segment
from hippy.wire import object as objects
from hippy.wire.attestation import ATTESTATIONS_BYTES_MAX
from hippy.wire.audit import REPORTED_ROOTS_MAX
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.follow import FOLLOW_ANSWER_BYTES_MAX
from hippy.wire.log import LOG_PAGE_BYTES_MAX

PROTOCOL = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"
ALLOWED = ServerLimits()
KIB, MIB = 1024, 1024 * 1024
FAILURES = "400, 401, 404 and 405 for a path that is none, 408, 413, 422 to what it sent, connections without a request"


def size(count: int) -> str:
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count % unit == 0:
            return f"{count // unit:,} {name}"
    return f"{count:,} bytes"


def seconds(count: float) -> str:
    return f"{count:g} s"


def rate(allowed: Rate) -> str:
    return f"{allowed.per_second:,g} a second, {allowed.burst:,} at once"


def audit_bytes() -> int:
    """Return how long the longest question is."""
    leaf = PieceLeaf(Root(bytes(32)), 0)
    asked = AuditRequest(epoch=0, batch=0, round=0, attempt=0, token=bytes(32), entries=(leaf,) * ENTRIES_MAX)
    return len(encode_request(asked))


BODY_RATE = f"{seconds(limits.BASE_DEADLINE_SECONDS)} + 1 s per {size(limits.SLOWEST_BYTES_PER_SECOND)}"

STRANGERS_SHARES = {(8, 2): "as one account; each of them an eighth of it, and half at once"}

ROWS = {
    "request body where nothing else is said": size(MESSAGE_BYTES_MAX),
    "allocate body / answer": f"{size(segment.ALLOCATE_BYTES_MAX)} / {size(segment.TICKETS_BYTES_MAX)}",
    "commit body": size(segment.COMMIT_BYTES_MAX),
    "objects, body; objects/read and objects/list, answer": size(objects.OBJECTS_BYTES_MAX),
    "objects/read, body": size(objects.READ_BYTES_MAX),
    "segment records answer": size(segment.RECORDS_BYTES_MAX),
    "audit, body / answer": f"{audit_bytes():,} bytes / {ANSWER_BYTES_MAX:,} bytes",
    "transcript": f"{TRANSCRIPT_ENTRIES_MAX:,} entries, {size(TRANSCRIPT_BYTES_MAX)}",
    "log page, evidence page": size(LOG_PAGE_BYTES_MAX),
    "lost report": f"{REPORTED_ROOTS_MAX} roots",
    "score sheet": f"{size(score.SHEET_BYTES_MAX)}, {node.MINERS_MAX:,} miners",
    "miner report": size(score.REPORT_BYTES_MAX),
    "directory": f"{size(node.DIRECTORY_BYTES_MAX)}, {node.MINERS_MAX:,} miners",
    "follow answer": f"{size(FOLLOW_ANSWER_BYTES_MAX)}; {QUESTIONS_MAX} questions of one follower at once",
    "attestations": f"{size(ATTESTATIONS_BYTES_MAX)}, {node.MINERS_MAX:,} miners",
    "manifest in a row": size(objects.MANIFEST_BYTES_MAX),
    "segments named by a row": f"{objects.ROW_SEGMENTS_MAX:,}",
    "connect / no byte received / whole request": (
        f"{seconds(limits.CONNECT_SECONDS)} / {seconds(limits.STALL_SECONDS)} / {BODY_RATE}"
    ),
    "inventory, body / answer": (
        f"{size(release.INVENTORY_BYTES_MAX)} / {size(release.INVENTORY_ANSWER_BYTES_MAX)}, "
        f"{release.INVENTORY_MAX} tickets"
    ),
    "segments in a renewal of leases": f"{release.LEASES_MAX}",
    "drops in a write": f"{objects.DROPS_MAX:,}",
    "repair, body / answer": (
        f"{repair.REPAIR_BYTES_MAX:,} bytes, the order {size(repair.ORDER_BYTES_MAX)} of them / "
        f"{size(repair.REPAIR_ANSWER_BYTES_MAX)}"
    ),
    "repairs of one validator / of all, in bytes held": (
        f"{REPAIRS_PER_VALIDATOR_MAX} at a time / {size(REPAIRS_BYTES_MAX)}, else 429"
    ),
    "a repair's answer": (
        f"{seconds(limits.REPAIR_BASE_SECONDS)} + 1 s per {size(limits.SLOWEST_BYTES_PER_SECOND)} that is read"
    ),
    "requests of one account that change something": f"{rate(rates.REQUESTS)}, else 429",
    f"log that one account makes, in units of {size(rates.RECORD_BYTES)}": f"{rate(rates.RECORDS)}, else 429",
    "the same of all accounts together that the operator did not set": STRANGERS_SHARES[
        rates.STRANGER_SHARE, rates.STRANGER_BURST_SHARE
    ],
    "inventories of one miner": f"{rate(rates.INVENTORIES)}, else 429",
    "drains of one miner": f"{rate(rates.INVENTORIES)}, else 429",
    "segments, objects/read, objects/list, buckets: answers under way": (
        f"{size(OUTBOX_BYTES_MAX)}, a quarter of it to one address (IPv6 /64), else 429"
    ),
    "body, at every moment after its head": f"{BODY_RATE} received",
    "bodies sent without asking first (`Expect: 100-continue`)": size(limits.EXPECT_BYTES_MIN),
    "request line, each header / headers": f"{limits.HEADER_BYTES_MAX:,} bytes / {limits.HEADERS_MAX}",
    "connection that says nothing / head of a request": (
        f"closed after {seconds(ALLOWED.silent_seconds)} / 408 after {seconds(ALLOWED.head_seconds)}"
    ),
    "idle connection": f"kept {seconds(limits.KEEPALIVE_SECONDS)}",
    "rest of a refused body": (
        f"thrown away for {seconds(ALLOWED.linger_seconds)} and up to {size(limits.LINGER_BYTES_MAX)}, "
        "then the connection is closed"
    ),
    "connection that does nothing while no place is free": f"gives way after {seconds(ALLOWED.idle_seconds)}",
    "connections to a server / of one address": (
        f"{ALLOWED.connections_max:,}, and half of its file descriptors / {ALLOWED.connections_per_address_max}; "
        "loopback half of all"
    ),
    "calls of one client: connections / to one peer": (f"{limits.CONNECTIONS_MAX} / {limits.CONNECTIONS_PER_PEER_MAX}"),
    "requests of one address": f"{rate(ALLOWED.requests)}, else 429",
    "unsigned requests of one address": f"{rate(ALLOWED.anonymous)}, else 429",
    f"failures of one address ({FAILURES})": f"{rate(ALLOWED.failures)}, else 429 for everything",
    "addresses remembered": f"{limits.ADDRESSES_MAX:,}",
}


def rows_of_the_document() -> dict[str, str]:
    table = PROTOCOL.read_text().split("| what | limit |\n|---|---|\n")[1]
    lines = table.split("\n\n")[0].splitlines()
    pairs = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {pair[0]: pair[1] for pair in pairs}


@pytest.mark.parametrize("what", ROWS)
def test_the_documents_table_has_what_the_code_does(what: str) -> None:
    assert rows_of_the_document().get(what) == ROWS[what]


def test_the_documents_table_has_no_row_that_nothing_is_held_to() -> None:
    assert set(rows_of_the_document()) == set(ROWS)


def test_limits_that_share_a_row_are_the_same() -> None:
    assert LOG_PAGE_BYTES_MAX == EVIDENCE_PAGE_BYTES_MAX
    assert limits.CONNECTIONS_PER_FILE == 0.5
    assert limits.repair_seconds(limits.SLOWEST_BYTES_PER_SECOND) == limits.REPAIR_BASE_SECONDS + 1
