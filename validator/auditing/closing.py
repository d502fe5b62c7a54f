"""The end of one epoch and the beginning of the next, computed from the registry alone (PROTOCOL §5.2, §5.4, §6).

Owns what a header says: what was asked and what was given up, the transcript's root, the sheet. A validator that
stopped in between comes to the same, because everything is read from the database and nothing remembered.

Functions on a reader; who stores the result, and when, is hippy.validator.auditing.auditor's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hippy.chain.protocol import Metagraph
from hippy.ids import ZERO_ID, MessageId, PublicKey
from hippy.kv import Reader
from hippy.proofs.challenge import seed_commit
from hippy.proofs.transcript import TranscriptScope, first_link, next_link
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, encode_entry
from hippy.validator.audit.counting import leaves_by_miner
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, Scheduled, schedule
from hippy.validator.auditing.epochs import encoded_entries, entries, get_sheet
from hippy.validator.held import HeldBytes
from hippy.validator.holdings import bytes_at, holders_at
from hippy.validator.log import TERM, Home, position
from hippy.validator.placement import epoch_secret
from hippy.validator.scoring import Tally
from hippy.validator.sheets import EpochFacts, is_escalated, make_sheet
from hippy.wire.audit import EpochHeader, HeadName
from hippy.wire.score import ScoreRules, ScoreSheet


@dataclass(frozen=True, slots=True)
class Rounds:
    """The newest beacon round when an epoch is first seen, and how many an epoch has."""

    newest: int
    per_epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An epoch that is over: entries for what was never asked, the transcript's root, the sheet, bytes by holder."""

    given_up: tuple[TranscriptEntry, ...]
    transcript_root: bytes
    sheet: ScoreSheet
    held: Mapping[PublicKey, HeldBytes]


@dataclass(frozen=True, slots=True)
class Closing:
    """Who closes epochs, with what constants."""

    home: Home
    secret: bytes
    rules: AuditRules
    score_rules: ScoreRules

    def planned(self, reader: Reader, header: EpochHeader) -> list[Scheduled]:
        """Return the batches of a header's epoch, by round; none where nothing committed to its secret."""
        if not header.is_committed:
            return []
        before = None if header.prev_epoch is None else get_sheet(reader, header.prev_epoch)
        batches = {
            miner: self.rules.batches_of(escalated=is_escalated(before, miner, header.epoch))
            for miner in holders_at(reader, self.head_seq(header))
        }
        return schedule(
            epoch_secret(self.secret, header.epoch),
            epoch=header.epoch,
            first_round=header.first_round,
            rounds=header.rounds,
            batches=batches,
        )

    def head_seq(self, header: EpochHeader) -> int:
        """Return the record of our own log that a header's inventories are as of."""
        return next(head.seq for head in header.heads if head.home == self.home.hotkey)

    def end(
        self, reader: Reader, header: EpochHeader, tallies: Mapping[PublicKey, Tally], metagraph: Metagraph, now: int
    ) -> Ended:
        """Return what the epoch of ``header`` comes to, as the log stands now."""
        found = list(entries(reader, header.epoch))
        given_up = tuple(_given_up(self.planned(reader, header), {_key_of(entry) for entry in found}, now))
        seq = position(reader).seq
        held = {miner: bytes_at(reader, miner, seq) for miner in holders_at(reader, seq)}
        leaves = leaves_by_miner(found, self.rules.batch_leaves)
        sheet = make_sheet(
            None if header.prev_epoch is None else get_sheet(reader, header.prev_epoch),
            EpochFacts(held, leaves, tallies),
            metagraph,
            self.score_rules,
            network=self.home.network,
            netuid=self.home.netuid,
            validator=self.home.hotkey,
            epoch=header.epoch,
        )
        return Ended(given_up, self._root(reader, header.epoch, given_up), sheet, held)

    def begin(
        self, reader: Reader, epoch: int, before: EpochHeader | None, ended: Ended | None, rounds: Rounds, now: int
    ) -> EpochHeader:
        """Return the signed header of ``epoch``; ``before`` is the newest one, ``ended`` what its epoch came to."""
        home, at = self.home, position(reader)
        blank = EpochHeader(
            network=home.network,
            netuid=home.netuid,
            validator=home.hotkey,
            epoch=epoch,
            time=now,
            seed_commit=seed_commit(epoch_secret(self.secret, epoch + 1)),
            prev_header=MessageId(ZERO_ID),
            first_round=rounds.newest,
            rounds=0,
            heads=(HeadName(home=home.hotkey, term=TERM, seq=at.seq, head=at.head),),
        )
        if before is not None and ended is not None:
            blank = blank.model_copy(
                update={
                    "prev_header": before.id(home.network),
                    "prev_epoch": before.epoch,
                    "revealed": epoch_secret(self.secret, before.epoch),
                    "transcript_root": ended.transcript_root,
                    "sheet_id": ended.sheet.id(home.network),
                    "rounds": rounds.per_epoch if before.epoch + 1 == epoch else 0,
                }
            )
        return blank.signed(home.identity, home.network)

    def _root(self, reader: Reader, epoch: int, given_up: tuple[TranscriptEntry, ...]) -> bytes:
        link = first_link(TranscriptScope(self.home.network, self.home.netuid, self.home.hotkey, epoch))
        for encoded in encoded_entries(reader, epoch):
            link = next_link(link, encoded)
        for entry in given_up:
            link = next_link(link, encode_entry(entry))
        return link


def _given_up(planned: list[Scheduled], asked: set[BatchKey], now: int) -> Iterator[TranscriptEntry]:
    """Yield an entry for every batch that was never asked: our own failure."""
    for scheduled in planned:
        key = scheduled.key
        if key not in asked:
            yield TranscriptEntry(key.epoch, key.miner, key.number, scheduled.round, 0, now, Outcome.UNKNOWN)


def _key_of(entry: TranscriptEntry) -> BatchKey:
    return BatchKey(entry.epoch, entry.miner, entry.batch)
