"""What a validator keeps of its audits: headers, transcripts, evidence, sheets, owed batches, probes, histories.

============================================  ==========================================================
key                                           value
============================================  ==========================================================
``epoch/`` epoch                              signed epoch-header
``asked/`` epoch ‖ u32 place                  transcript entry: what one asking of that epoch came to
``evid/`` epoch ‖ u32 place                   evidence of the answer, where there was one
``sheet/`` epoch                              score-sheet
``probe/`` epoch                              :class:`EpochProbes`
``owed/`` batch epoch ‖ miner ‖ u32 number    :class:`OwedBatch`
``past/`` miner ‖ epoch                       past-score: one row of the miner's history
``fail/`` miner ‖ epoch ‖ u32 number          audit-failure
``shown/`` miner                              :class:`AccountShares`: bytes by account when the newest epoch ended
``meta/place``                                u64, how many entries the newest epoch's transcript has
``meta/doubt``                                u64, epochs in a row in which most miners were missing
``meta/round``                                u64, the newest beacon round that anything may have been asked from
============================================  ==========================================================

Functions on a transaction. Integers in keys are big-endian. Everything but owed batches is kept for a number of epochs
and then forgotten (:func:`forget`).

Invariants: an outcome, its evidence and what is owed afterwards change in one transaction; the entries of an epoch
have the places 0, 1, 2, … without gaps, in the order in which they were entered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Final

from pydantic import Field

from hippy.hashing import u32
from hippy.ids import ID_BYTES, PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.proofs.cursor import Cursor
from hippy.proofs.transcript import TRANSCRIPT_ENTRIES_MAX
from hippy.proofs.transcript_entry import TranscriptEntry, encode_entry, read_entry
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.scoring import Tally
from hippy.validator.tables import get_count, get_message, ordered, put_count
from hippy.wire.audit import EpochHeader, Epochs
from hippy.wire.canonical import Message
from hippy.wire.fields import U16, Count, Key
from hippy.wire.node import MINERS_MAX
from hippy.wire.score import ACCOUNTS_MAX, AccountBytes, AuditFailure, PastScore, ScoreSheet

HEADER: Final = b"epoch/"
ASKED: Final = b"asked/"
EVIDENCE: Final = b"evid/"
SHEET: Final = b"sheet/"
PROBES: Final = b"probe/"
OWED: Final = b"owed/"
PAST: Final = b"past/"
FAILURE: Final = b"fail/"
SHOWN: Final = b"shown/"
PLACE: Final = b"meta/place"
DOUBT: Final = b"meta/doubt"
ASKED_ROUND: Final = b"meta/round"

_BY_EPOCH: Final = (HEADER, ASKED, EVIDENCE, SHEET, PROBES)
_BY_MINER: Final = (PAST, FAILURE)


class MinerProbes(Message):
    """One miner's tally of one epoch."""

    TYPE = "miner-probes"
    miner: Key
    live_ok: Count
    live_total: Count
    reads_ok: Count
    reads_total: Count
    read_bytes: Count
    read_microseconds: Count

    def tally(self) -> Tally:
        """Return it as the score takes it."""
        return Tally(
            self.live_ok,
            self.live_total,
            self.reads_ok,
            self.reads_total,
            self.read_bytes,
            self.read_microseconds,
        )


class EpochProbes(Message):
    """The tallies of one epoch."""

    TYPE = "epoch-probes"
    miners: Annotated[tuple[MinerProbes, ...], Field(max_length=MINERS_MAX)]


class AccountShares(Message):
    """Bytes that a miner holds, by account, the largest first."""

    TYPE = "account-shares"
    accounts: Annotated[tuple[AccountBytes, ...], Field(max_length=ACCOUNTS_MAX)]


class OwedBatch(Message):
    """A batch that was asked and is not settled, with what is needed to ask it again.

    ``request`` is the body of its latest asking, ``lengths`` the length of each entry's piece; times in milliseconds.
    """

    TYPE = "owed-batch"
    round: Count
    first_milliseconds: Count
    asked_milliseconds: Count
    ask_milliseconds: Count
    attempt: Annotated[int, Field(ge=0, le=255)]
    silences: U16
    away: Annotated[int, Field(ge=0, le=1)]
    request: Annotated[str, Field(max_length=8_192)]
    lengths: Annotated[tuple[Count, ...], Field(min_length=1, max_length=64)]


def put_header(txn: Transaction, header: EpochHeader) -> None:
    """Keep the header of a new epoch and begin its transcript."""
    txn.put(HEADER + ordered(header.epoch), header.encode())
    put_count(txn, PLACE, 0)


def get_header(reader: Reader, epoch: int) -> EpochHeader | None:
    """Return the header of an epoch."""
    return get_message(reader, HEADER + ordered(epoch), EpochHeader)


def encoded_header(reader: Reader, epoch: int) -> bytes | None:
    """Return the header of an epoch as it was signed."""
    return reader.get(HEADER + ordered(epoch))


def kept_epochs(reader: Reader) -> Epochs | None:
    """Return the first and last epoch with a header."""
    epochs = [_epoch_of(key) for key, _ in reader.scan(HEADER)]  # 160 of them
    return Epochs(first=epochs[0], last=epochs[-1]) if epochs else None


def newest_header(reader: Reader) -> EpochHeader | None:
    """Return the header of the newest epoch."""
    kept = kept_epochs(reader)
    return None if kept is None else get_header(reader, kept.last)


def oldest_header(reader: Reader) -> EpochHeader | None:
    """Return the header of the oldest epoch that is kept."""
    found = next(reader.scan(HEADER), None)
    return None if found is None else EpochHeader.parse(found[1])


def put_entry(txn: Transaction, epoch: int, entry: TranscriptEntry, evidence: bytes = b"") -> None:
    """Enter an outcome in the transcript of ``epoch``, the newest, with the evidence if there was an answer."""
    place = get_count(txn, PLACE)
    put_count(txn, PLACE, place + 1)
    key = ordered(epoch) + place.to_bytes(4, "big")
    txn.put(ASKED + key, encode_entry(entry))
    if evidence:
        txn.put(EVIDENCE + key, evidence)


def entry_count(reader: Reader) -> int:
    """Return how many entries the newest epoch's transcript has."""
    return get_count(reader, PLACE)


def encoded_entries(reader: Reader, epoch: int) -> Iterator[bytes]:
    """Yield the entries of an epoch's transcript as they are hashed."""
    return (value for _, value in reader.scan(ASKED + ordered(epoch)))


def entries(reader: Reader, epoch: int) -> Iterator[TranscriptEntry]:
    """Yield the entries of an epoch's transcript."""
    return (read_entry(Cursor(value, "stored transcript entry")) for value in encoded_entries(reader, epoch))


def evidence_page(reader: Reader, epoch: int, first_place: int, bytes_max: int) -> bytes:
    """Return the evidence of the entries from ``first_place`` on, each behind its u32 length, 0 where nobody answered.

    As many as fit, at least one if there is one.
    """
    items, size, table = list[bytes](), 0, ASKED + ordered(epoch)
    if first_place > TRANSCRIPT_ENTRIES_MAX:
        return b""
    after = table + (first_place - 1).to_bytes(4, "big") if first_place else None
    for key, _ in reader.scan(table, after):
        evidence = reader.get(EVIDENCE + key[len(ASKED) :]) or b""
        size += 4 + len(evidence)
        if items and size > bytes_max:
            break
        items.append(u32(len(evidence)) + evidence)
    return b"".join(items)


def put_sheet(txn: Transaction, sheet: ScoreSheet) -> None:
    """Keep a sheet and add its rows to the miners' histories."""
    txn.put(SHEET + ordered(sheet.epoch), sheet.encode())
    for score in sheet.miners:
        past = PastScore(
            epoch=sheet.epoch,
            bytes=score.paid_bytes + score.unpaid_bytes,
            leaves_ok=score.leaves_ok,
            leaves_bad=score.leaves_bad,
            proof_ppm=score.proof_ppm,
            uptime_ppm=score.uptime_ppm,
            reads_ppm=score.reads_ppm,
            speed_ppm=score.speed_ppm,
            age_ppm=score.age_ppm,
            weight=score.weight,
        )
        txn.put(PAST + score.hotkey + ordered(sheet.epoch), past.encode())


def get_sheet(reader: Reader, epoch: int) -> ScoreSheet | None:
    """Return the sheet of an epoch that has ended."""
    return get_message(reader, SHEET + ordered(epoch), ScoreSheet)


def encoded_sheet(reader: Reader, epoch: int) -> bytes | None:
    """Return the sheet of an epoch as its id was taken of it."""
    return reader.get(SHEET + ordered(epoch))


def put_probes(txn: Transaction, epoch: int, tallies: Mapping[PublicKey, Tally]) -> None:
    """Keep the tallies of an epoch."""
    rows = tuple(
        MinerProbes(
            miner=miner,
            live_ok=tally.live_ok,
            live_total=tally.live_total,
            reads_ok=tally.reads_ok,
            reads_total=tally.reads_total,
            read_bytes=tally.read_bytes,
            read_microseconds=tally.read_microseconds,
        )
        for miner, tally in sorted(tallies.items())
    )
    txn.put(PROBES + ordered(epoch), EpochProbes(miners=rows).encode())


def scan_probes(reader: Reader) -> Iterator[tuple[int, dict[PublicKey, Tally]]]:
    """Yield the epochs whose tallies are kept, oldest first."""
    for key, value in reader.scan(PROBES):
        probes = EpochProbes.parse(value, limit=len(value))
        yield _epoch_of(key), {row.miner: row.tally() for row in probes.miners}


def put_owed(txn: Transaction, batch: OpenBatch, request: bytes, lengths: Iterable[int]) -> None:
    """Keep a batch that is owed."""
    owed = OwedBatch(
        round=batch.round,
        first_milliseconds=_milliseconds(batch.first_time),
        asked_milliseconds=_milliseconds(batch.asked_time),
        ask_milliseconds=_milliseconds(batch.ask_time),
        attempt=batch.attempt,
        silences=batch.silences,
        away=int(batch.away),
        request=request.hex(),
        lengths=tuple(lengths),
    )
    txn.put(_owed_key(batch.key), owed.encode())


def get_owed(reader: Reader, key: BatchKey) -> tuple[bytes, tuple[int, ...]] | None:
    """Return the latest request of an owed batch and the lengths of its pieces."""
    owed = get_message(reader, _owed_key(key), OwedBatch)
    return None if owed is None else (bytes.fromhex(owed.request), owed.lengths)


def scan_owed(reader: Reader) -> Iterator[OpenBatch]:
    """Yield the batches that are owed."""
    for key, value in reader.scan(OWED):
        rest, owed = key[len(OWED) :], OwedBatch.parse(value)
        yield OpenBatch(
            key=BatchKey(
                int.from_bytes(rest[:8], "big"),
                PublicKey(rest[8 : 8 + ID_BYTES]),
                int.from_bytes(rest[8 + ID_BYTES :], "big"),
            ),
            round=owed.round,
            first_time=owed.first_milliseconds / 1000,
            asked_time=owed.asked_milliseconds / 1000,
            ask_time=owed.ask_milliseconds / 1000,
            attempt=owed.attempt,
            silences=owed.silences,
            away=bool(owed.away),
        )


def drop_owed(txn: Transaction, key: BatchKey) -> None:
    """Forget a batch that is settled."""
    txn.delete(_owed_key(key))


def put_failure(txn: Transaction, key: BatchKey, time: int, bad: int, roots: Iterable[Root], *, answered: bool) -> None:
    """Remember that a batch failed, for whoever asks why."""
    failure = AuditFailure(
        epoch=key.epoch,
        batch=key.number,
        time=time,
        kind="wrong" if answered else "unanswered",
        bad=bad,
        roots=tuple(islice(roots, 8)),
    )
    txn.put(FAILURE + key.miner + ordered(key.epoch) + key.number.to_bytes(4, "big"), failure.encode())


def failures_of(reader: Reader, miner: PublicKey, limit: int) -> tuple[AuditFailure, ...]:
    """Return a miner's failures, the newest ``limit``, newest first."""
    return tuple(AuditFailure.parse(value) for value in reversed(_last(reader, FAILURE + miner, limit)))


def history_of(reader: Reader, miner: PublicKey, limit: int) -> tuple[PastScore, ...]:
    """Return a miner's scores of past epochs, newest first."""
    return tuple(PastScore.parse(value) for value in reversed(_last(reader, PAST + miner, limit)))


def put_shares(txn: Transaction, bytes_by_holder: Mapping[PublicKey, Mapping[PublicKey, int]]) -> None:
    """Keep for which accounts each holder holds how much, and forget who holds nothing now."""
    for key, _ in list(txn.scan(SHOWN)):
        txn.delete(key)
    for miner, by_account in bytes_by_holder.items():
        largest = sorted(by_account.items(), key=lambda pair: (-pair[1], pair[0]))[:ACCOUNTS_MAX]
        shares = AccountShares(accounts=tuple(AccountBytes(account=account, bytes=size) for account, size in largest))
        txn.put(SHOWN + miner, shares.encode())


def shares_of(reader: Reader, miner: PublicKey) -> tuple[AccountBytes, ...]:
    """Return for which accounts a miner holds how much."""
    shares = get_message(reader, SHOWN + miner, AccountShares)
    return () if shares is None else shares.accounts


def get_doubt(reader: Reader) -> int:
    """Return in how many epochs in a row most miners were missing."""
    return get_count(reader, DOUBT)


def put_doubt(txn: Transaction, streak: int) -> None:
    """Keep in how many epochs in a row most miners were missing."""
    put_count(txn, DOUBT, streak)


def get_asked_round(reader: Reader) -> int:
    """Return the newest beacon round that anything may have been asked from, by whichever process audits."""
    return get_count(reader, ASKED_ROUND)


def put_asked_round(txn: Transaction, newest_round: int) -> None:
    """Say that from now on something may be asked from a round."""
    put_count(txn, ASKED_ROUND, max(newest_round, get_asked_round(txn)))


def forget(txn: Transaction, before_epoch: int, limit: int) -> int:
    """Remove up to ``limit`` rows of epochs before ``before_epoch``, and return how many were removed."""
    old = [key for table in _BY_EPOCH for key in islice(_older(txn, table, before_epoch), limit)][:limit]
    for table in _BY_MINER:
        old += islice(_older_of_miners(txn, table, before_epoch), limit - len(old))
    for key in old:
        txn.delete(key)
    return len(old)


def _older(reader: Reader, table: bytes, before_epoch: int) -> Iterator[bytes]:
    for key, _ in reader.scan(table):
        if key >= table + ordered(before_epoch):
            return
        yield key


def _older_of_miners(reader: Reader, table: bytes, before_epoch: int) -> Iterator[bytes]:
    """Yield old rows of tables that are sorted by miner first; seeks from miner to miner."""
    after: bytes | None = None
    while (found := next(reader.scan(table, after), None)) is not None:
        miner = found[0][: len(table) + ID_BYTES]
        yield from _older(reader, miner, before_epoch)
        after = miner + b"\xff" * 13  # behind every epoch and number


def _last(reader: Reader, prefix: bytes, limit: int) -> deque[bytes]:
    """Return the last values below a prefix; only these are worth parsing."""
    return deque((value for _, value in reader.scan(prefix)), maxlen=limit)


def _owed_key(key: BatchKey) -> bytes:
    return OWED + ordered(key.epoch) + key.miner + key.number.to_bytes(4, "big")


def _epoch_of(key: bytes) -> int:
    return int.from_bytes(key[key.index(b"/") + 1 :][:8], "big")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
