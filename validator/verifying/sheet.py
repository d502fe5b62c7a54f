"""A score sheet computed again from what it must rest on (PROTOCOL §6). Pure.

Bytes come from the log, leaves from the transcript, memory from the sheet before; sums of probes and ages are as the
sheet says them, within what can be, and all arithmetic is done again.

Example::

    left_out = check_sheet(sheet, SheetBasis(...))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hippy.errors import ProtocolError
from hippy.identity import ss58_encode
from hippy.ids import ZERO_ID, NetworkId, PublicKey
from hippy.validator.audit.rules import AuditRules
from hippy.validator.held import HeldBytes
from hippy.validator.scoring import Evidence, Leaves, Tally, next_score
from hippy.validator.verifying.difference import Difference
from hippy.wire.score import MinerScore, ScoreRules, ScoreSheet

AGE_EPOCHS: Final = 2
"""By how much an age may be off: epochs are counted in blocks, and headers are made some time after an epoch began."""


PROBES_FACTOR: Final = 4
"""By how much there may be more probes than the protocol's mean number: they come at random, epochs may be long."""

PIECES_PER_READ: Final = 8
"""Pieces read at once from a miner that has to be fast, each of which counts (PROTOCOL §5.5)."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A miner as the chain shows it now: registered in all of ``since_epoch`` and later, under this uid and coldkey.

    ``certain_time`` is Unix seconds from which on everybody knows of this registration, None where that cannot be told.
    """

    uid: int
    since_epoch: int
    coldkey: PublicKey | None = None
    certain_time: float | None = None


@dataclass(frozen=True, slots=True)
class SheetBasis:
    """What the sheet of an epoch rests on.

    ``made_epoch`` is that of the next header, with which the sheet is made; epochs may lie between. ``held`` is as of
    its head, for every miner that holds anything; ``registrations`` of the miners registered now; ``checks_age``
    unless the length of an epoch changed since. ``is_newest``: coldkeys can be exchanged, and the chain shows only
    those of now. ``audit_rules`` say how many probes there are in an epoch.
    """

    network: NetworkId
    netuid: int
    validator: PublicKey
    epoch: int
    made_epoch: int
    before: ScoreSheet | None
    leaves: Mapping[PublicKey, Leaves]
    held: Mapping[PublicKey, HeldBytes]
    registrations: Mapping[PublicKey, Registration]
    checks_age: bool
    is_newest: bool
    audit_rules: AuditRules


def check_sheet(sheet: ScoreSheet, basis: SheetBasis) -> tuple[PublicKey, ...]:
    """Check every row of a sheet, and return the miners that are not in it because they are registered no more.

    Raises Difference naming the first number that is not what was expected.
    """
    _check_frame(sheet, basis)
    _check_rules(sheet, basis)
    before = {score.hotkey: score for score in basis.before.miners} if basis.before is not None else {}
    members = before.keys() | basis.leaves.keys() | basis.held.keys()
    for score in sheet.miners:
        if score.hotkey not in members:
            what = "the sheet has a row for it, though it holds nothing, was not asked and has no score to carry on"
            raise _wrong(basis, score.hotkey, what)
        if score.hotkey == basis.validator:
            raise _wrong(basis, score.hotkey, "the validator scores itself")
        _check_row(score, before.get(score.hotkey), sheet.rules, basis)
    left_out = sorted(members - {score.hotkey for score in sheet.miners} - {basis.validator})
    for miner in left_out:
        registration = basis.registrations.get(miner)
        if registration is not None and registration.since_epoch <= basis.epoch:
            raise _wrong(basis, miner, "the sheet has no row for it, though it is registered")
    return tuple(left_out)


def other_rules(sheet: ScoreSheet, usual: ScoreRules) -> str | None:
    """Return what a sheet says of constants that are not the protocol's, None where all are."""
    stated, expected = sheet.rules.model_dump(), usual.model_dump()
    found = [f"{name} {value}, not {expected[name]}" for name, value in stated.items() if value != expected[name]]
    return "; ".join(found) or None


def _check_frame(sheet: ScoreSheet, basis: SheetBasis) -> None:
    if (sheet.netuid, sheet.validator, sheet.epoch) != (basis.netuid, basis.validator, basis.epoch):
        raise Difference("the sheet is of another subnet, validator or epoch", epoch=basis.epoch)
    prev_sheet = ZERO_ID if basis.before is None else basis.before.id(basis.network)
    if sheet.prev_sheet != prev_sheet:
        raise Difference("the sheet follows another sheet than that of the epoch before", epoch=basis.epoch)
    if any(low.hotkey >= high.hotkey for low, high in pairwise(sheet.miners)):
        raise Difference("the sheet's rows are not in the order of their hotkeys, one for each", epoch=basis.epoch)


def _check_rules(sheet: ScoreSheet, basis: SheetBasis) -> None:
    """Raises Difference when the constants are others than in the sheet before."""
    if basis.before is None:
        return
    changed = other_rules(sheet, basis.before.rules)
    if changed is not None:
        what = f"the sheet has other rules than that of epoch {basis.before.epoch}: {changed}"
        raise Difference(what, epoch=basis.epoch)


def _check_row(score: MinerScore, before: MinerScore | None, rules: ScoreRules, basis: SheetBasis) -> None:
    _check_stated(score, basis)
    _check_probes(score, rules, basis)
    try:
        expected = next_score(before, _evidence(score, basis), rules, epoch=basis.epoch)
    except ProtocolError as error:
        raise _wrong(basis, score.hotkey, f"no score follows from the sheet before: {error.message}") from None
    for name in MinerScore.model_fields:
        wanted, found = getattr(expected, name), getattr(score, name)
        if wanted != found:
            raise _wrong(basis, score.hotkey, f"{name} {wanted} was expected, {found} was found")


def _evidence(score: MinerScore, basis: SheetBasis) -> Evidence:
    held = basis.held.get(score.hotkey)
    return Evidence(
        hotkey=score.hotkey,
        coldkey=score.coldkey,
        uid=score.uid,
        paid_bytes=held.paid_bytes if held is not None else 0,
        unpaid_bytes=held.unpaid_bytes if held is not None else 0,
        leaves=basis.leaves.get(score.hotkey, Leaves()),
        tally=Tally(
            score.live_ok,
            score.live_total,
            score.reads_ok,
            score.reads_total,
            score.read_bytes,
            score.read_microseconds,
        ),
        age_epochs=score.age_epochs,
    )


def _check_probes(score: MinerScore, rules: ScoreRules, basis: SheetBasis) -> None:
    """Raises Difference for more probes than the window can have; a failed read is followed by a liveness check."""
    audit = basis.audit_rules
    reads_max = PROBES_FACTOR * rules.window_epochs * audit.reads * PIECES_PER_READ
    live_max = PROBES_FACTOR * rules.window_epochs * (audit.live_checks + audit.reads)
    for what, found, limit in (
        ("liveness checks", score.live_total, live_max),
        ("reads", score.reads_total, reads_max),
    ):
        if found > limit:
            raise _wrong(basis, score.hotkey, f"{found} {what} in {rules.window_epochs} epochs, at most {limit} can be")


def _check_stated(score: MinerScore, basis: SheetBasis) -> None:
    """Check what is the validator's word as far as it can be."""
    for what, succeeded, total in (
        ("liveness checks", score.live_ok, score.live_total),
        ("reads", score.reads_ok, score.reads_total),
    ):
        if succeeded > total:
            raise _wrong(basis, score.hotkey, f"{succeeded} of {total} {what} succeeded, which cannot be")
    registration = basis.registrations.get(score.hotkey)
    if registration is None or registration.since_epoch > basis.epoch:
        return  # it may have been registered otherwise then
    if score.uid != registration.uid:
        raise _wrong(basis, score.hotkey, f"uid {registration.uid} was expected, {score.uid} was found")
    if basis.is_newest and registration.coldkey is not None and score.coldkey != registration.coldkey:
        expected, found = ss58_encode(registration.coldkey), ss58_encode(score.coldkey)
        raise _wrong(basis, score.hotkey, f"coldkey {expected} was expected, {found} was found")
    age = basis.made_epoch - registration.since_epoch
    if basis.checks_age and abs(score.age_epochs - age) > AGE_EPOCHS:
        raise _wrong(basis, score.hotkey, f"an age of about {age} epochs was expected, {score.age_epochs} was found")


def _wrong(basis: SheetBasis, miner: PublicKey, what: str) -> Difference:
    return Difference(what, epoch=basis.epoch, miner=miner)
