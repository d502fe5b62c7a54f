"""A miner passes for the leaves it was asked for and for nothing else (PROTOCOL §8, 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import HippyError, IntegrityError, ProtocolError, UsageError
from hippy.identity import Identity, verify
from hippy.ids import NetworkId, PublicKey, Root
from hippy.proofs.evidence import Evidence, encode_evidence, evidence_of, parse_evidence, response_hash
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.proofs.tree import LEAF_BYTES, leaf_count
from hippy.proofs.verify import Verdict, judge, verify_evidence, verify_response
from tests.proofs.audit_world import (
    EDGES,
    SCOPE,
    answer,
    honest_entries,
    lengths_of,
    mutations,
    named,
    piece_of,
    request_for,
    signed_by,
    verdicts,
    verified,
)
from tests.reference import merkle

quick = settings(derandomize=True, deadline=None, max_examples=60)

PIECES = [piece_of(length) for length in EDGES]
LENGTHS = lengths_of(PIECES)
LEAVES = [(piece.root, leaf) for piece in PIECES for leaf in range(len(piece.hashes))]

some_leaves = st.lists(st.sampled_from(LEAVES), min_size=1, max_size=6)
edge_lengths = st.sampled_from(EDGES)


def one_entry(data: st.DataObject, length: int) -> tuple[AuditRequest, ResponseEntry]:
    """A request for one leaf of a piece of this length, and its honest answer."""
    leaf = data.draw(st.integers(0, leaf_count(length) - 1))
    request = request_for([(piece_of(length).root, leaf)])
    return request, piece_of(length).show(leaf)


def verdict_on(request: AuditRequest, entry: ResponseEntry) -> Verdict:
    (verdict,) = verdicts(request, LENGTHS, [entry])
    return verdict


def siblings_of(entry: ResponseEntry) -> list[bytes]:
    return [entry.path[at : at + 32] for at in range(0, len(entry.path), 32)]


# -- What passes


@quick
@given(some_leaves)
def test_an_honest_miner_passes(leaves: list[tuple[Root, int]]) -> None:
    request = request_for(leaves)
    assert verdicts(request, LENGTHS, honest_entries(request, PIECES)) == (Verdict.OK,) * len(leaves)


def test_every_edge_leaf_passes() -> None:
    """The first and last leaf of every piece, in one batch."""
    request = request_for([(p.root, leaf) for p in PIECES for leaf in (0, len(p.hashes) - 1)])
    assert set(verdicts(request, LENGTHS, honest_entries(request, PIECES))) == {Verdict.OK}


def test_a_real_signature_passes_and_an_inventory_is_a_record_of_lengths() -> None:
    miner = Identity.from_seed(named("miner"))
    scope = replace(SCOPE, miner=miner.public_key)
    request = request_for(LEAVES[:5])
    bound_to = request_hash(scope, encode_request(request))
    entries = tuple(honest_entries(request, PIECES))
    signed = response_hash(evidence_of(bound_to, entries))
    parts = encode_response(AuditResponse(bound_to, entries, signed, miner.sign(signed)))
    body = b"".join(bytes(part) for part in parts)
    found = verify_response(request, scope, Inventory(LENGTHS.items()), body, verify)
    assert found.verdicts == (Verdict.OK,) * 5
    with pytest.raises(IntegrityError, match="not signed"):
        verify_response(request, scope, LENGTHS, body, signed_by)


def test_a_leaf_asked_twice_is_shown_twice() -> None:
    request = request_for([LEAVES[7]] * 2)
    entries = honest_entries(request, PIECES)
    assert verdicts(request, LENGTHS, entries) == (Verdict.OK, Verdict.OK)
    with pytest.raises(ProtocolError):
        verified(request, LENGTHS, answer(request, entries[:1]))


# -- The other statuses


def test_every_status_has_its_verdict() -> None:
    request = request_for(LEAVES[:5])
    entries = [
        *honest_entries(request, PIECES)[:1],
        ResponseEntry(Status.LOST),
        ResponseEntry(Status.RELEASED, b"release"),
        ResponseEntry(Status.NEVER_RECEIVED),
        ResponseEntry(Status.OK, b"not the leaf"),
    ]
    found = verified(request, LENGTHS, answer(request, entries))
    assert found.verdicts == tuple(Verdict)
    assert found.releases == {2: b"release"}


def test_a_release_is_handed_on_as_bytes_of_its_own() -> None:
    request = request_for(LEAVES[:1])
    body = bytearray(answer(request, [ResponseEntry(Status.RELEASED, b"release")]))
    found = verify_response(request, SCOPE, LENGTHS, body, signed_by)
    body[:] = bytes(len(body))
    assert found.releases == {0: b"release"}


# -- Wrong answers (PROTOCOL §8, 3)


@quick
@given(st.data(), edge_lengths)
def test_a_flipped_bit_of_a_leaf_is_wrong(data: st.DataObject, length: int) -> None:
    request, entry = one_entry(data, length)
    leaf = bytearray(entry.data)
    leaf[data.draw(st.integers(0, len(leaf) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert verdict_on(request, replace(entry, data=bytes(leaf))) is Verdict.WRONG


@quick
@given(st.data(), edge_lengths.filter(lambda length: length > LEAF_BYTES))
def test_a_flipped_bit_of_a_sibling_is_wrong(data: st.DataObject, length: int) -> None:
    request, entry = one_entry(data, length)
    path = bytearray(entry.path)
    path[data.draw(st.integers(0, len(path) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert verdict_on(request, replace(entry, path=bytes(path))) is Verdict.WRONG


@quick
@given(st.data(), st.sampled_from([3 * LEAF_BYTES + 1, 5 * LEAF_BYTES, 256 * LEAF_BYTES]))
def test_siblings_in_another_order_are_wrong(data: st.DataObject, length: int) -> None:
    request, entry = one_entry(data, length)
    siblings = siblings_of(entry)
    order = data.draw(st.permutations(siblings))
    expected = Verdict.OK if order == siblings else Verdict.WRONG
    assert verdict_on(request, replace(entry, path=b"".join(order))) is expected


@quick
@given(st.data(), edge_lengths)
def test_a_truncated_or_extended_path_is_wrong(data: st.DataObject, length: int) -> None:
    request, entry = one_entry(data, length)
    siblings = siblings_of(entry)
    paths = [[*siblings, named("more")], [named("more"), *siblings], siblings * 2, siblings[:-1], siblings[1:]]
    for path in paths:
        if path != siblings:
            assert verdict_on(request, replace(entry, path=b"".join(path))) is Verdict.WRONG


@pytest.mark.parametrize("length", [LEAF_BYTES + 1, 3 * LEAF_BYTES + 1, 5 * LEAF_BYTES, 256 * LEAF_BYTES])
def test_a_node_does_not_pass_as_a_leaf(length: int) -> None:
    """The two children of the first node, shown as if they were its content, with the path from there up."""
    piece = piece_of(length)
    entry = piece.show(0)
    children = piece.hashes[0] + piece.hashes[1]
    for path in (entry.path[32:], entry.path):
        shown = ResponseEntry(Status.OK, children, path)
        assert verdict_on(request_for([(piece.root, 0)]), shown) is Verdict.WRONG


@quick
@given(st.sampled_from(LEAVES), st.sampled_from(LEAVES))
def test_another_leaf_is_wrong(asked: tuple[Root, int], shown: tuple[Root, int]) -> None:
    """Another index of the same piece as well as another piece: whatever is shown, it is judged as what was asked."""
    (entry,) = honest_entries(request_for([shown]), PIECES)
    expected = Verdict.OK if asked == shown else Verdict.WRONG
    assert verdict_on(request_for([asked]), entry) is expected


@quick
@given(st.data(), edge_lengths, st.sampled_from([-LEAF_BYTES, -1, 1, LEAF_BYTES]))
def test_a_wrong_length_of_the_piece_is_wrong(data: st.DataObject, length: int, more: int) -> None:
    request, entry = one_entry(data, length)
    (asked,) = request.entries
    other = length + more
    if other > asked.leaf * LEAF_BYTES:
        assert verdicts(request, {asked.root: other}, [entry]) == (Verdict.WRONG,)


def test_leaves_of_one_byte_do_not_pass_for_a_piece_of_four_megabytes() -> None:
    """A client and its miner make up a tree: 256 bytes to keep, 4 MiB to be paid for."""
    hashes = [merkle.leaf_hash(bytes([i])) for i in range(256)]
    root = Root(merkle.root_over(merkle.top_of(hashes), 256 * LEAF_BYTES))
    entry = ResponseEntry(Status.OK, b"\x03", b"".join(merkle.path_of(3, hashes)))
    assert verdicts(request_for([(root, 3)]), {root: 256 * LEAF_BYTES}, [entry]) == (Verdict.WRONG,)


@quick
@given(some_leaves, st.data())
def test_missing_entries_are_no_answer(leaves: list[tuple[Root, int]], data: st.DataObject) -> None:
    request = request_for(leaves)
    entries = honest_entries(request, PIECES)
    del entries[data.draw(st.integers(0, len(entries) - 1))]
    if entries:
        with pytest.raises(ProtocolError):
            verified(request, LENGTHS, answer(request, entries))


@quick
@given(st.lists(st.sampled_from(LEAVES), min_size=2, max_size=6, unique=True), st.data())
def test_reordered_or_duplicated_entries_are_wrong_where_they_moved(
    leaves: list[tuple[Root, int]], data: st.DataObject
) -> None:
    request = request_for(leaves)
    honest = honest_entries(request, PIECES)
    chosen = data.draw(st.lists(st.integers(0, len(leaves) - 1), min_size=len(leaves), max_size=len(leaves)))
    found = verdicts(request, LENGTHS, [honest[place] for place in chosen])
    assert found == tuple(Verdict.OK if at == place else Verdict.WRONG for at, place in enumerate(chosen))


# -- Replays (PROTOCOL §8, 4)

REQUEST = request_for(LEAVES[2:5])
BODY = answer(REQUEST, honest_entries(REQUEST, PIECES))

OTHER_SCOPES: dict[str, Scope] = {
    "network": replace(SCOPE, network=NetworkId(named("other"))),
    "netuid": replace(SCOPE, netuid=4),
    "validator": replace(SCOPE, validator=PublicKey(named("other"))),
    "miner": replace(SCOPE, miner=PublicKey(named("other"))),
}
OTHER_REQUESTS: dict[str, AuditRequest] = {
    "epoch": replace(REQUEST, epoch=8),
    "batch": replace(REQUEST, batch=3),
    "round": replace(REQUEST, round=1_043),
    "attempt": replace(REQUEST, attempt=1),
    "token": replace(REQUEST, token=named("other")),
    "order": replace(REQUEST, entries=REQUEST.entries[::-1]),
}


def test_the_answer_that_is_replayed_is_a_good_one() -> None:
    assert verified(REQUEST, LENGTHS, BODY).verdicts == (Verdict.OK,) * 3


@pytest.mark.parametrize("what", OTHER_SCOPES)
def test_an_answer_in_another_scope_is_refused(what: str) -> None:
    with pytest.raises(IntegrityError, match="another request"):
        verified(REQUEST, LENGTHS, BODY, OTHER_SCOPES[what])


@pytest.mark.parametrize("what", OTHER_REQUESTS)
def test_an_answer_to_another_request_is_refused(what: str) -> None:
    with pytest.raises(IntegrityError, match="another request"):
        verified(OTHER_REQUESTS[what], LENGTHS, BODY)


@pytest.mark.parametrize("what", OTHER_REQUESTS)
def test_an_answer_relabelled_for_another_request_is_not_what_its_hash_says(what: str) -> None:
    """The miner's signature covers the request's hash, so nobody can carry an answer over."""
    bound_to = request_hash(SCOPE, encode_request(OTHER_REQUESTS[what]))
    with pytest.raises(IntegrityError, match="not what its hash says"):
        verified(OTHER_REQUESTS[what], LENGTHS, BODY[:4] + bound_to + BODY[36:])


def test_a_miner_cannot_hide_behind_the_answer_of_another() -> None:
    other = OTHER_SCOPES["miner"]
    signed_by_other = answer(REQUEST, honest_entries(REQUEST, PIECES), other)
    with pytest.raises(IntegrityError, match="another request"):
        verified(REQUEST, LENGTHS, signed_by_other)


# -- Whatever the bytes are


@quick
@given(st.binary(max_size=300))
def test_noise_is_a_protocol_error(noise: bytes) -> None:
    for body in (noise, b"HPR1" + noise):
        with pytest.raises(ProtocolError):
            verified(REQUEST, LENGTHS, body)


SMALL = request_for([(piece_of(1).root, 0), (piece_of(16_385).root, 1), (piece_of(3 * LEAF_BYTES + 1).root, 3)])
SMALL_BODY = answer(SMALL, honest_entries(SMALL, PIECES))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(mutations(SMALL_BODY))
def test_an_altered_answer_is_refused(body: bytes) -> None:
    if body != SMALL_BODY:
        with pytest.raises((ProtocolError, IntegrityError)):
            verified(SMALL, LENGTHS, body)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 4)), min_size=3, max_size=3))
def test_made_up_leaves_never_pass_though_they_are_signed(made_up: list[tuple[bytes, int]]) -> None:
    entries = [ResponseEntry(Status.OK, data + b"x", named("path", 32 * count)) for data, count in made_up]
    assert verdicts(SMALL, LENGTHS, entries) == (Verdict.WRONG,) * 3


# -- The verifier's own mistakes are not the miner's


def test_a_piece_without_a_recorded_length_is_the_verifiers_mistake() -> None:
    with pytest.raises(UsageError, match="no length is recorded"):
        verified(REQUEST, {}, BODY)


@pytest.mark.parametrize("status", [Status.OK, Status.LOST])
def test_a_request_beyond_the_piece_is_the_verifiers_mistake(status: Status) -> None:
    request = request_for([(piece_of(16_385).root, 2)])
    entry = ResponseEntry(status, b"x" if status is Status.OK else b"")
    with pytest.raises(UsageError, match="leaf 2"):
        verified(request, LENGTHS, answer(request, [entry]))


# -- Evidence


def test_an_outsider_comes_to_the_same_verdicts_from_the_evidence() -> None:
    request = request_for(LEAVES[:4])
    entries = honest_entries(request, PIECES)
    entries[1:3] = [ResponseEntry(Status.LOST), ResponseEntry(Status.OK, b"wrong")]
    found = verified(request, LENGTHS, answer(request, entries))
    kept = parse_evidence(encode_evidence(found.evidence))
    assert response_hash(kept) == found.response_hash
    assert judge(request, LENGTHS, kept) == found.verdicts
    assert verify_evidence(request, SCOPE, LENGTHS, kept, found.signature, signed_by) == found.verdicts


Altering = Callable[[Evidence], Evidence]
ALTERED: dict[str, Altering] = {
    "status": lambda kept: with_first(kept, status=Status.LOST, length=0, digest=bytes(32), path=b""),
    "length": lambda kept: with_first(kept, length=kept.entries[0].length - 1),
    "digest": lambda kept: with_first(kept, digest=named("other")),
    "path": lambda kept: with_first(kept, path=named("other")),
    "order": lambda kept: replace(kept, entries=kept.entries[::-1]),
}


def with_first(kept: Evidence, **changes: Any) -> Evidence:
    return replace(kept, entries=(replace(kept.entries[0], **changes), *kept.entries[1:]))


@pytest.mark.parametrize("what", ALTERED)
def test_evidence_that_a_validator_altered_is_not_what_the_miner_signed(what: str) -> None:
    found = verified(REQUEST, LENGTHS, BODY)
    with pytest.raises(IntegrityError, match="not signed"):
        verify_evidence(REQUEST, SCOPE, LENGTHS, ALTERED[what](found.evidence), found.signature, signed_by)


def test_evidence_of_another_request_is_refused() -> None:
    found = verified(REQUEST, LENGTHS, BODY)
    with pytest.raises(IntegrityError, match="another request"):
        verify_evidence(OTHER_REQUESTS["epoch"], SCOPE, LENGTHS, found.evidence, found.signature, signed_by)


@pytest.mark.parametrize("count", [1, 2])
def test_evidence_of_other_entries_is_refused(count: int) -> None:
    found = verified(REQUEST, LENGTHS, BODY)
    fewer = replace(found.evidence, entries=found.evidence.entries[:count])
    with pytest.raises(ProtocolError, match="3"):
        judge(REQUEST, LENGTHS, fewer)


def test_only_the_errors_of_the_project_leave() -> None:
    """Many values of many bytes, one at a time."""
    for at in range(0, len(SMALL_BODY), 7):
        for byte in range(0, 256, 5):
            refused(SMALL_BODY[:at] + bytes([byte]) + SMALL_BODY[at + 1 :], changed=SMALL_BODY[at] != byte)


def refused(body: bytes, *, changed: bool) -> None:
    errors: Sequence[type[HippyError]] = (ProtocolError, IntegrityError)
    if changed:
        with pytest.raises(tuple(errors)):
            verified(SMALL, LENGTHS, body)
    else:
        verified(SMALL, LENGTHS, body)
