"""A transcript says one thing about every asking, in one spelling, under one root."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import IntegrityError, ProtocolError, TooLargeError
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.transcript import (
    TRANSCRIPT_ENTRIES_MAX,
    Transcript,
    TranscriptScope,
    check_transcript,
    encode_transcript,
    first_link,
    next_link,
    parse_transcript,
    transcript_root,
)
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason, encode_entry
from hippy.proofs.verify import Verdict
from tests.proofs.audit_world import mutations, named
from tests.reference import audit

quick = settings(derandomize=True, deadline=None, max_examples=200)

MINER = PublicKey(named("miner"))
SCOPE = TranscriptScope(NetworkId(named("network")), 3, PublicKey(named("validator")), 7)
RELEASED = Void(1, VoidReason.ENDED, named("release"))
PASSED = TranscriptEntry(
    epoch=7,
    miner=MINER,
    batch=2,
    round=1_042,
    attempt=0,
    time=1_795_000_000,
    outcome=Outcome.PASS,
    request_hash=named("request"),
    response_hash=named("response"),
    signature=named("signature", 64),
    verdicts=(Verdict.OK,) * 3,
)
MIXED = replace(
    PASSED, batch=3, outcome=Outcome.FAIL, verdicts=(Verdict.LOST, Verdict.RELEASED, Verdict.WRONG), voids=(RELEASED,)
)
SILENT = TranscriptEntry(7, MINER, 4, 1_050, 0, 1_795_000_100, Outcome.SILENT, named("request"))
NEVER_ASKED = TranscriptEntry(7, MINER, 9, 1_060, 0, 1_795_000_200, Outcome.UNKNOWN)
TRANSCRIPT = Transcript(SCOPE, (PASSED, MIXED, SILENT, NEVER_ASKED))
FILE = encode_transcript(TRANSCRIPT)
ROOT = transcript_root(TRANSCRIPT)


def by_hand(entry: TranscriptEntry) -> audit.Entry:
    return audit.Entry(
        entry.epoch,
        entry.miner,
        entry.batch,
        entry.round,
        entry.attempt,
        entry.time,
        entry.outcome,
        entry.request_hash,
        entry.response_hash,
        entry.signature,
        entry.verdicts,
        tuple((void.entry, void.reason, void.reference) for void in entry.voids),
    )


@st.composite
def answered(draw: st.DrawFn) -> TranscriptEntry:
    """An entry with a response and the outcome that follows from it."""
    verdicts = tuple(draw(st.lists(st.sampled_from(Verdict), min_size=1, max_size=64)))
    places = draw(st.sets(st.integers(0, len(verdicts) - 1)))
    voids = tuple(Void(place, draw(st.sampled_from(VoidReason)), named(f"void {place}")) for place in sorted(places))
    good = all(verdict is Verdict.OK or place in places for place, verdict in enumerate(verdicts))
    return replace(
        PASSED,
        epoch=draw(st.integers(0, 7)),
        batch=draw(st.integers(0, 2**32 - 1)),
        attempt=draw(st.integers(0, 255)),
        time=draw(st.integers(0, 2**64 - 1)),
        outcome=Outcome.PASS if good else Outcome.FAIL,
        verdicts=verdicts,
        voids=voids,
    )


asking = lambda entry: (entry.epoch, entry.batch, entry.attempt)  # noqa: E731


@quick
@given(st.lists(answered(), max_size=4, unique_by=asking))
def test_file_and_root_are_those_the_definition_gives(entries: list[TranscriptEntry]) -> None:
    transcript = Transcript(SCOPE, tuple(entries))
    scope = audit.transcript_scope(SCOPE.network, SCOPE.netuid, SCOPE.validator, SCOPE.epoch)
    expected = [by_hand(entry) for entry in entries]
    file = encode_transcript(transcript)
    assert file == audit.transcript(scope, expected)
    assert transcript_root(transcript) == audit.transcript_root(scope, expected)
    assert parse_transcript(file) == transcript


@quick
@given(answered(), st.sampled_from(Outcome))
def test_an_answered_batch_has_the_one_outcome_its_verdicts_give(entry: TranscriptEntry, outcome: Outcome) -> None:
    if outcome is not entry.outcome:
        with pytest.raises(ProtocolError, match="outcome"):
            replace(entry, outcome=outcome)


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.SILENT, Outcome.OFFLINE, Outcome.UNKNOWN])
def test_an_unanswered_batch_may_be_anything_but_passed(outcome: Outcome) -> None:
    assert replace(SILENT, outcome=outcome).outcome is outcome
    with pytest.raises(ProtocolError, match="outcome"):
        replace(SILENT, outcome=Outcome.PASS)


def test_a_void_entry_does_not_fail_a_batch() -> None:
    lost = (Verdict.OK, Verdict.LOST, Verdict.OK)
    assert replace(PASSED, verdicts=lost, voids=(RELEASED,)).outcome is Outcome.PASS
    with pytest.raises(ProtocolError, match="outcome"):
        replace(PASSED, verdicts=lost)


def test_an_entry_knows_whether_it_was_asked_and_answered() -> None:
    known = [(entry.asked, entry.answered) for entry in (PASSED, SILENT, NEVER_ASKED)]
    assert known == [(True, True), (True, False), (False, False)]


INCONSISTENT: list[tuple[TranscriptEntry, dict[str, Any]]] = [
    (PASSED, {"response_hash": bytes(32)}),
    (PASSED, {"signature": bytes(64)}),
    (PASSED, {"verdicts": ()}),
    (PASSED, {"request_hash": bytes(32)}),
    (SILENT, {"response_hash": named("response")}),
    (SILENT, {"signature": named("signature", 64)}),
    (SILENT, {"request_hash": bytes(32)}),
    (NEVER_ASKED, {"outcome": Outcome.OFFLINE}),
    (NEVER_ASKED, {"attempt": 1}),
    (NEVER_ASKED, {"voids": (RELEASED,)}),
    (PASSED, {"voids": (replace(RELEASED, entry=3),)}),
    (PASSED, {"voids": (replace(RELEASED, entry=-1),)}),
    (PASSED, {"voids": (RELEASED, RELEASED)}),
    (PASSED, {"voids": (RELEASED, replace(RELEASED, entry=0))}),
    (SILENT, {"voids": (replace(RELEASED, entry=64),)}),
    (PASSED, {"voids": (replace(RELEASED, reference=bytes(31)),)}),
    (PASSED, {"verdicts": (Verdict.OK,) * 65}),
    (PASSED, {"epoch": 2**64}),
    (PASSED, {"batch": 2**32}),
    (PASSED, {"round": -1}),
    (PASSED, {"attempt": 256}),
    (PASSED, {"time": 2**64}),
    (PASSED, {"miner": PublicKey(bytes(31))}),
    (PASSED, {"signature": named("signature", 63)}),
]


@pytest.mark.parametrize(("entry", "change"), INCONSISTENT)
def test_fields_that_do_not_agree_are_refused(entry: TranscriptEntry, change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="the transcript's entry for batch"):
        replace(entry, **change)


def test_an_attempt_is_entered_once() -> None:
    again = replace(SILENT, attempt=1)
    assert len(Transcript(SCOPE, (SILENT, again)).entries) == 2
    with pytest.raises(ProtocolError, match="twice"):
        Transcript(SCOPE, (SILENT, again, replace(PASSED, batch=SILENT.batch)))


def test_a_batch_of_an_earlier_epoch_is_entered_and_one_of_a_later_is_not() -> None:
    assert Transcript(SCOPE, (replace(SILENT, epoch=6), SILENT)).entries[0].epoch == 6
    with pytest.raises(ProtocolError, match="epoch 8"):
        Transcript(SCOPE, (replace(SILENT, epoch=8),))


def test_links_are_made_one_by_one() -> None:
    link = first_link(SCOPE)
    assert transcript_root(Transcript(SCOPE, ())) == link
    for entry in TRANSCRIPT.entries:
        link = next_link(link, encode_entry(entry))
    assert link == ROOT


def test_a_transcript_is_checked_against_its_root() -> None:
    check_transcript(TRANSCRIPT, ROOT)
    others = [
        Transcript(SCOPE, TRANSCRIPT.entries[:-1]),
        Transcript(SCOPE, TRANSCRIPT.entries[1:]),
        Transcript(SCOPE, TRANSCRIPT.entries[::-1]),
        Transcript(SCOPE, (replace(PASSED, time=0), *TRANSCRIPT.entries[1:])),
        *(replace(TRANSCRIPT, scope=scope) for scope in other_scopes()),
    ]
    for other in others:
        with pytest.raises(IntegrityError, match="epoch"):
            check_transcript(other, ROOT)


def other_scopes() -> list[TranscriptScope]:
    return [
        replace(SCOPE, network=NetworkId(named("other"))),
        replace(SCOPE, netuid=4),
        replace(SCOPE, validator=PublicKey(named("other"))),
        replace(SCOPE, epoch=8),
    ]


def test_a_transcript_has_at_most_65536_entries() -> None:
    count = TRANSCRIPT_ENTRIES_MAX + 1
    with pytest.raises(TooLargeError):
        Transcript(SCOPE, (SILENT,) * count)
    with pytest.raises(TooLargeError):
        parse_transcript(FILE[:78] + count.to_bytes(4, "little") + FILE[82:])


@quick
@given(st.binary(max_size=400))
def test_noise_is_a_protocol_error(noise: bytes) -> None:
    for body in (noise, b"HPT1" + noise, FILE[:82] + noise):
        with pytest.raises(ProtocolError):
            parse_transcript(body)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(mutations(FILE))
def test_what_is_accepted_has_one_spelling(body: bytes) -> None:
    try:
        transcript = parse_transcript(body)
    except ProtocolError:
        return
    assert encode_transcript(transcript) == body
    if body != FILE:
        with pytest.raises(IntegrityError):
            check_transcript(transcript, ROOT)
