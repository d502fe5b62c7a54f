"""A transcript says one thing about every asking, in one spelling, under one root."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import IntegrityError, ProtocolError, TooLargeError
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.cursor import Cursor
from hippy.proofs.transcript import (
    TRANSCRIPT_BYTES_MAX,
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
from hippy.proofs.transcript_entry import (
    ENTRY_BYTES_MAX,
    Outcome,
    TranscriptEntry,
    Void,
    VoidReason,
    encode_entry,
    entry_bytes,
    read_entry,
)
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
    PASSED,
    batch=3,
    outcome=Outcome.FAIL,
    request_hash=named("request 3"),
    verdicts=(Verdict.LOST, Verdict.RELEASED, Verdict.WRONG),
    voids=(RELEASED,),
)
SILENT = TranscriptEntry(7, MINER, 4, 1_050, 0, 1_795_000_100, Outcome.SILENT, named("request 4"))
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
    epoch, batch, attempt = draw(st.integers(0, 7)), draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 255))
    return replace(
        PASSED,
        epoch=epoch,
        batch=batch,
        attempt=attempt,
        request_hash=named(f"request {epoch} {batch}"),
        time=draw(st.integers(0, 2**64 - 1)),
        outcome=Outcome.PASS if good else Outcome.FAIL,
        verdicts=verdicts,
        voids=voids,
    )


def batch_of(entry: TranscriptEntry) -> tuple[int, int]:
    return entry.epoch, entry.batch


@quick
@given(st.lists(answered(), max_size=4, unique_by=batch_of))
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


def asked_again(entry: TranscriptEntry, attempt: int, **changes: Any) -> TranscriptEntry:
    return replace(entry, attempt=attempt, request_hash=named(f"attempt {attempt} at {entry.batch}"), **changes)


UNANSWERED = [Outcome.SILENT, Outcome.OFFLINE, Outcome.UNKNOWN]


def test_a_batch_is_entered_from_its_first_asking_to_its_end() -> None:
    """Attempts may be missing: those of an earlier epoch are in its transcript."""
    askings = [replace(SILENT, outcome=outcome) for outcome in UNANSWERED]
    unanswered = tuple(asked_again(entry, 2 * at) for at, entry in enumerate(askings))
    passed = asked_again(replace(PASSED, batch=SILENT.batch, round=SILENT.round), 7)
    failed = asked_again(SILENT, 255, outcome=Outcome.FAIL)
    for last in (passed, failed):
        assert len(Transcript(SCOPE, (*unanswered, last)).entries) == 4


@pytest.mark.parametrize("outcome", UNANSWERED)
@pytest.mark.parametrize("attempt", [0, 2, 3])
def test_attempts_ascend(outcome: Outcome, attempt: int) -> None:
    before = asked_again(SILENT, 3, outcome=outcome)
    after = replace(asked_again(SILENT, attempt), request_hash=named("another"))
    with pytest.raises(ProtocolError, match="follows attempt 3"):
        Transcript(SCOPE, (before, PASSED, after))


def test_a_batch_keeps_its_round() -> None:
    with pytest.raises(ProtocolError, match="round 1051, which was 1050"):
        Transcript(SCOPE, (SILENT, asked_again(SILENT, 1, round=SILENT.round + 1)))


@pytest.mark.parametrize("last", [PASSED, MIXED, replace(SILENT, outcome=Outcome.FAIL)])
@pytest.mark.parametrize("outcome", [*UNANSWERED, Outcome.FAIL])
def test_nothing_follows_a_pass_or_a_fail(last: TranscriptEntry, outcome: Outcome) -> None:
    after = asked_again(replace(SILENT, batch=last.batch, round=last.round), 1, outcome=outcome)
    with pytest.raises(ProtocolError, match=f"follows its {last.outcome.name}"):
        Transcript(SCOPE, (last, after))


def test_a_request_is_entered_once() -> None:
    for other in (
        replace(SILENT, attempt=1),
        replace(SILENT, batch=5),
        replace(SILENT, epoch=6),
        replace(SILENT, miner=PublicKey(named("other"))),
    ):
        with pytest.raises(ProtocolError, match="the request of another"):
            Transcript(SCOPE, (SILENT, other))


def test_batches_that_were_never_asked_have_no_request_to_share() -> None:
    assert len(Transcript(SCOPE, (NEVER_ASKED, replace(NEVER_ASKED, batch=10))).entries) == 2


def test_a_pass_does_not_count_256_times() -> None:
    """One answer, entered under every attempt and another round each time."""
    askings = tuple(replace(PASSED, attempt=attempt, round=attempt) for attempt in range(256))
    file = FILE[:78] + (256).to_bytes(4, "little") + b"".join(map(encode_entry, askings))
    with pytest.raises(ProtocolError, match="follows its PASS"):
        parse_transcript(file)


def test_batches_of_other_miners_and_epochs_are_other_batches() -> None:
    others = (
        replace(PASSED, epoch=6, request_hash=named("one")),
        replace(PASSED, miner=PublicKey(named("other")), request_hash=named("two")),
        replace(PASSED, batch=1, request_hash=named("three")),
    )
    assert len(Transcript(SCOPE, (PASSED, *others)).entries) == 4


def test_a_batch_of_an_earlier_epoch_is_entered_and_one_of_a_later_is_not() -> None:
    earlier = replace(SILENT, epoch=6, request_hash=named("request 6"))
    assert Transcript(SCOPE, (earlier, SILENT)).entries[0].epoch == 6
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


FULL = replace(
    PASSED,
    verdicts=(Verdict.OK,) * 64,
    voids=tuple(Void(place, VoidReason.ENDED, named("release")) for place in range(64)),
)


def test_the_size_of_an_entry_is_known_before_it_is_made() -> None:
    for entry in (*TRANSCRIPT.entries, FULL):
        assert entry_bytes(entry) == len(encode_entry(entry))
    assert entry_bytes(FULL) == ENTRY_BYTES_MAX


def test_a_transcript_has_at_most_32_mib() -> None:
    count = TRANSCRIPT_BYTES_MAX // ENTRY_BYTES_MAX + 1
    assert count < TRANSCRIPT_ENTRIES_MAX
    with pytest.raises(TooLargeError, match="bytes"):
        Transcript(SCOPE, (FULL,) * count)
    with pytest.raises(TooLargeError, match="bytes"):
        parse_transcript(bytes(TRANSCRIPT_BYTES_MAX + 1))


def test_more_verdicts_or_voids_than_a_batch_has_entries_are_not_read() -> None:
    encoded = encode_entry(replace(SILENT, outcome=Outcome.FAIL))
    for at in (len(encoded) - 4, len(encoded) - 2):
        body = encoded[:at] + (65).to_bytes(2, "little") + encoded[at + 2 :]
        with pytest.raises(ProtocolError, match="has 65 v"):
            read_entry(Cursor(body, "entry"))


@pytest.mark.parametrize("change", [{"netuid": 2**16}, {"netuid": -1}, {"epoch": 2**64}])
def test_a_scope_has_numbers_that_fit_their_fields(change: dict[str, int]) -> None:
    with pytest.raises(ProtocolError, match="does not fit"):
        TranscriptScope(SCOPE.network, **{"netuid": 3, "epoch": 7, **change}, validator=SCOPE.validator)


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
