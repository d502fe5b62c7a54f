"""Challenges are drawn as the definition says, depend on everything they should and miss nothing for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError, UsageError
from hippy.ids import PublicKey, Root
from hippy.proofs.challenge import batch_round, batch_token, challenge_seed, draw, draw_request, seed_commit
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from tests.proofs.audit_world import SCOPE, named
from tests.reference import audit
from tests.reference.audit import Batch

quick = settings(derandomize=True, deadline=None, max_examples=60)

SECRET, BEACON = named("secret"), named("beacon")
PIECES = {Root(named(f"root {i}")): 4_194_304 for i in range(40)}
INVENTORY = Inventory(PIECES.items())

hashes = st.binary(min_size=32, max_size=32)
u32s, u64s = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


def request_of(**changes: Any) -> AuditRequest:
    given_: dict[str, Any] = {
        "validator": SCOPE.validator,
        "miner": SCOPE.miner,
        "epoch": 7,
        "batch": 2,
        "beacon_round": 1_042,
        "attempt": 0,
        "inventory": INVENTORY,
        "count": 64,
    }
    secret, beacon = changes.pop("secret", SECRET), changes.pop("beacon", BEACON)
    return draw_request(secret, beacon, **{**given_, **changes})


@quick
@given(hashes, hashes, hashes, hashes, u64s, u32s, st.integers(0, 255), st.integers(1, 64), st.integers(1, 2**40))
def test_a_request_is_the_one_the_definition_gives(
    secret: bytes,
    beacon: bytes,
    validator: bytes,
    miner: bytes,
    epoch: int,
    batch: int,
    attempt: int,
    count: int,
    sum_: int,
) -> None:
    by_hand = Batch(bytes(32), 3, validator, miner, secret, epoch, batch, beacon, 99, attempt)
    pieces = {Root(named(f"root {i}")): 1 + (sum_ >> i) % 70_000 for i in range(5)}
    request = draw_request(
        secret,
        beacon,
        validator=PublicKey(validator),
        miner=PublicKey(miner),
        epoch=epoch,
        batch=batch,
        beacon_round=99,
        attempt=attempt,
        inventory=Inventory(pieces.items()),
        count=count,
    )
    assert encode_request(request) == audit.request(by_hand, audit.drawn_leaves(by_hand, pieces, count))
    assert seed_commit(secret) == audit.seed_commit(secret)
    assert draw(audit.seed(by_hand), count, sum_) == tuple(audit.numbers(by_hand, count, sum_))
    assert batch_round(secret, PublicKey(miner), batch, 10, 9, 2) == audit.batch_round(by_hand, 10, 9, 2)


def test_rounds_lie_between_the_first_and_the_margin() -> None:
    rounds = {batch_round(SECRET, SCOPE.miner, batch, 1_000, 12, 4) for batch in range(300)}
    assert rounds == set(range(1_001, 1_009))
    assert batch_round(SECRET, SCOPE.miner, 0, 1_000, 9, 8) == 1_001


def test_no_round_lies_behind_the_epoch() -> None:
    """The smallest margin leaves all rounds but the first."""
    rounds = {batch_round(SECRET, SCOPE.miner, batch, 1_000, 3, 1) for batch in range(30)}
    assert rounds == {1_001, 1_002}
    assert batch_round(SECRET, SCOPE.miner, 0, 1_000, 2, 1) == 1_001


@pytest.mark.parametrize(("rounds", "margin"), [(8, 8), (8, 9), (8, 0), (8, -1), (1, 0), (1, 1), (0, 0)])
def test_a_margin_that_leaves_no_time_or_ends_behind_the_epoch_is_refused(rounds: int, margin: int) -> None:
    with pytest.raises(UsageError, match="margin"):
        batch_round(SECRET, SCOPE.miner, 0, 1_000, rounds, margin)


def test_every_part_of_a_challenge_changes_the_leaves() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"secret": named("other")},
        {"beacon": named("other")},
        {"validator": PublicKey(named("other"))},
        {"miner": PublicKey(named("other"))},
        {"epoch": 8},
        {"batch": 3},
    ]
    assert len({request_of(**change).entries for change in changes}) == len(changes)


def test_a_batch_asked_again_asks_for_the_same_leaves() -> None:
    first, again = request_of(), request_of(attempt=1)
    assert again == replace(first, attempt=1)


def test_a_shorter_batch_is_the_beginning_of_a_longer_one() -> None:
    assert request_of(count=9).entries == request_of(count=64).entries[:9]


def test_a_token_tells_batches_and_miners_apart() -> None:
    other = PublicKey(named("other"))
    tokens = {
        batch_token(secret, miner, batch)
        for secret in (SECRET, BEACON)
        for miner in (SCOPE.miner, other)
        for batch in (0, 1)
    }
    assert len(tokens) == 8
    assert seed_commit(SECRET) not in tokens


def test_a_miner_that_owes_nothing_is_not_asked() -> None:
    with pytest.raises(UsageError, match="leaf to ask for"):
        request_of(inventory=Inventory([]))


@pytest.mark.parametrize("count", [-1, 0, 65, 2**40])
def test_a_batch_has_1_to_64_entries(count: int) -> None:
    with pytest.raises(ProtocolError, match="1 to 64"):
        request_of(count=count)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2**64},
        {"epoch": -1},
        {"batch": 2**32},
        {"batch": -1},
        {"beacon_round": 2**64},
        {"attempt": 256},
    ],
)
def test_a_number_that_does_not_fit_its_field_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ProtocolError, match="does not fit"):
        request_of(**change)


def test_a_batch_that_does_not_fit_its_field_has_neither_round_nor_token() -> None:
    with pytest.raises(ProtocolError, match="does not fit 32 bits"):
        batch_round(SECRET, SCOPE.miner, 2**32, 1_000, 9, 2)
    with pytest.raises(ProtocolError, match="does not fit 32 bits"):
        batch_token(SECRET, SCOPE.miner, 2**32)


@pytest.mark.parametrize("netuid", [-1, 2**16])
def test_a_netuid_that_does_not_fit_its_field_is_refused(netuid: int) -> None:
    with pytest.raises(ProtocolError, match="does not fit 16 bits"):
        replace(SCOPE, netuid=netuid)


@pytest.mark.parametrize("what", ["secret", "beacon", "validator", "miner"])
@pytest.mark.parametrize("width", [31, 33])
def test_what_is_hashed_in_a_row_has_32_bytes(what: str, width: int) -> None:
    """Otherwise a byte could move from one to the next, and two challenges share their leaves."""
    with pytest.raises(AssertionError):
        request_of(**{what: named("other", width)})


def test_a_secret_or_a_token_of_another_width_is_not_hashed() -> None:
    with pytest.raises(AssertionError):
        seed_commit(b"short")
    with pytest.raises(AssertionError):
        challenge_seed(b"short", BEACON, SCOPE.validator, SCOPE.miner, 7, 2)


def test_a_single_leaf_is_drawn_every_time() -> None:
    assert draw(named("seed"), 64, 1) == (0,) * 64


def test_no_leaf_is_favoured() -> None:
    """Chi-squared over 256 leaves and 64,000 draws of fixed seeds: 255 degrees of freedom, 5 sigma is 368."""
    counts = Counter(number for i in range(1_000) for number in draw(named(f"seed {i}"), 64, 256))
    assert set(counts) == set(range(256))
    assert 142 < sum((found - 250) ** 2 / 250 for found in counts.values()) < 368


def found(share: int, seed: int, epoch: int) -> bool:
    """Return whether four batches of an epoch ask for any leaf of one in ``share`` that are missing."""
    lost = sorted(set(draw(named("lost"), 2_000, INVENTORY.total_leaves)))[: INVENTORY.total_leaves // share]
    assert len(lost) == INVENTORY.total_leaves // share
    places = {INVENTORY.locate(number) for number in lost}
    secret, beacon = named(f"secret {seed} {epoch}"), named(f"beacon {seed} {epoch}")
    batches = (request_of(secret=secret, beacon=beacon, epoch=epoch, batch=batch) for batch in range(4))
    return any(not places.isdisjoint(request.entries) for request in batches)


def test_a_missing_hundredth_is_found_within_three_epochs() -> None:
    """PROTOCOL §8, 1: four batches of 64 an epoch miss 1 % of the leaves three times with 0.99^768 = 0.00044."""
    outcomes = [[found(100, seed, epoch) for epoch in range(3)] for seed in range(200)]
    within_three = sum(any(epochs) for epochs in outcomes)
    within_one = sum(sum(epochs) for epochs in outcomes)
    assert within_three / 200 > 0.99  # 200 · 0.00044 = 0.09 misses expected
    # 600 epochs, each with 1 - (1 - 102/10240)^256 = 0.923: 554 expected, sigma 6.5.
    assert 521 < within_one < 587


def test_a_missing_twentieth_is_found_within_one_epoch() -> None:
    """PROTOCOL §8, 1: 0.95^256 is two in a million."""
    assert all(found(20, seed, 0) for seed in range(200))


def test_a_seed_is_bound_to_its_token() -> None:
    one = challenge_seed(named("token"), BEACON, SCOPE.validator, SCOPE.miner, 7, 2)
    two = challenge_seed(named("other"), BEACON, SCOPE.validator, SCOPE.miner, 7, 2)
    assert one != two


def test_no_two_scopes_share_a_request_hash() -> None:
    body = encode_request(request_of())
    scopes = [
        SCOPE,
        Scope(SCOPE.network, 4, SCOPE.validator, SCOPE.miner),
        Scope(SCOPE.network, 3, PublicKey(SCOPE.miner), PublicKey(SCOPE.validator)),
    ]
    assert len({request_hash(scope, body) for scope in scopes}) == 3
