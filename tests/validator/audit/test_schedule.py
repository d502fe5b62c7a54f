"""Which batches an epoch has, and when: drawn from its secret, by PROTOCOL §5.2."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey
from hippy.proofs.challenge import batch_round
from hippy.validator.audit.schedule import BatchKey, schedule

quick = settings(derandomize=True, deadline=None, max_examples=100)
SECRET = b"s" * 32
ANN, BEN = PublicKey(b"a" * 32), PublicKey(b"b" * 32)


@quick
@given(st.binary(min_size=32, max_size=32), st.integers(2, 3_000), st.integers(0, 2**40))
def test_every_batch_is_sent_within_its_epoch(secret: bytes, rounds: int, first_round: int) -> None:
    batches = schedule(secret, epoch=7, first_round=first_round, rounds=rounds, batches={ANN: 4, BEN: 32})
    margin = max(1, rounds // 8)
    assert all(first_round < each.round <= first_round + rounds - margin for each in batches)


@quick
@given(st.integers(2, 500))
def test_batches_come_by_ascending_round_and_each_once(rounds: int) -> None:
    batches = schedule(SECRET, epoch=7, first_round=900, rounds=rounds, batches={ANN: 4, BEN: 32})
    assert [each.round for each in batches] == sorted(each.round for each in batches)
    assert {each.key for each in batches} == {BatchKey(7, ANN, n) for n in range(4)} | {
        BatchKey(7, BEN, n) for n in range(32)
    }
    assert len(batches) == 36


def test_each_round_is_the_one_that_the_secret_draws() -> None:
    for each in schedule(SECRET, epoch=7, first_round=900, rounds=1_440, batches={ANN: 4}):
        assert each.round == batch_round(SECRET, ANN, each.key.number, 900, 1_440, 180)


@pytest.mark.parametrize("rounds", [0, 1])
def test_an_epoch_of_fewer_than_two_rounds_asks_nothing(rounds: int) -> None:
    assert schedule(SECRET, epoch=7, first_round=900, rounds=rounds, batches={ANN: 4}) == []


def test_who_owes_nothing_is_not_asked() -> None:
    assert schedule(SECRET, epoch=7, first_round=900, rounds=100, batches={}) == []


def test_another_secret_draws_other_rounds() -> None:
    rounds = [
        [each.round for each in schedule(secret, epoch=7, first_round=0, rounds=10_000, batches={ANN: 32})]
        for secret in (SECRET, b"t" * 32)
    ]
    assert rounds[0] != rounds[1]


def test_more_batches_leave_the_first_ones_where_they_were() -> None:
    """So an escalation adds questions and moves none."""
    few, many = (
        {each.key: each.round for each in schedule(SECRET, epoch=7, first_round=0, rounds=99, batches={ANN: count})}
        for count in (4, 32)
    )
    assert few.items() <= many.items()
