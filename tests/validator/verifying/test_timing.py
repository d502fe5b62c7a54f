"""Headers are held against where the chain is: honest ones may be late, drift and see tempos change."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey
from hippy.validator.verifying.difference import Difference, Remark
from hippy.validator.verifying.timing import Moment, check_timing
from hippy.wire.audit import EpochHeader, HeadName

KEY = PublicKey(b"v" * 32)
NOW = 1_800_000_000
HOUR_SECONDS, HOUR_ROUNDS = 4_320.0, 1_440
"""An epoch of a subnet, with a round every three seconds."""

SHORT_SECONDS, SHORT_ROUNDS = 2.5, 16
"""One of a local network."""


def header(epoch: int, first_round: float, time: float, rounds: int) -> EpochHeader:
    return EpochHeader(
        network=NetworkId(b"n" * 32),
        netuid=1,
        validator=KEY,
        epoch=epoch,
        time=int(time),
        seed_commit=bytes(32),
        prev_header=MessageId(ZERO_ID),
        first_round=int(first_round),
        rounds=rounds,
        heads=(HeadName(home=KEY, term=1, seq=0, head=MessageId(ZERO_ID)),),
    )


def headers(
    late_epochs: Sequence[float], *, seconds: float, rounds: int, phase: float = 0.5, speed: float = 1.0
) -> list[EpochHeader]:
    """Headers of epochs that ended with 100, each made late by a part of its epoch; ``speed`` of the blocks."""
    count = len(late_epochs)
    found = []
    for place, late in enumerate(late_epochs):
        epochs_ago = (count - 1 - place) + phase - late
        found.append(
            header(
                100 - (count - 1 - place),
                10**6 - epochs_ago * rounds / speed,
                NOW - epochs_ago * seconds / speed,
                rounds,
            )
        )
    return found


def check(found: Sequence[EpochHeader], *, seconds: float = HOUR_SECONDS, rounds: int = HOUR_ROUNDS) -> list[Remark]:
    return check_timing(found, Moment(NOW, 100, 10**6), epoch_seconds=seconds, rounds=rounds)


@pytest.mark.parametrize("phase", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("length", [(HOUR_SECONDS, HOUR_ROUNDS), (SHORT_SECONDS, SHORT_ROUNDS)], ids=["hour", "short"])
def test_headers_made_when_their_epochs_began_are_right(phase: float, length: tuple[float, int]) -> None:
    seconds, rounds = length
    assert (
        check(headers([0.01] * 40, seconds=seconds, rounds=rounds, phase=phase), seconds=seconds, rounds=rounds) == []
    )


def test_headers_made_late_in_their_epochs_are_right() -> None:
    assert check(headers([0.9, 0.0, 0.9, 0.1, 0.0], seconds=HOUR_SECONDS, rounds=HOUR_ROUNDS, phase=0.2)) == []


def test_a_process_that_stalls_for_some_short_epochs_is_right() -> None:
    stalled = [0.0, 0.0, 1.8, 0.9, 0.0, 0.0]
    found = headers(stalled, seconds=SHORT_SECONDS, rounds=SHORT_ROUNDS)
    assert check(found, seconds=SHORT_SECONDS, rounds=SHORT_ROUNDS) == []


@pytest.mark.parametrize("speed", [0.99, 1.01])
def test_blocks_that_drift_are_right(speed: float) -> None:
    assert check(headers([0.0] * 100, seconds=HOUR_SECONDS, rounds=HOUR_ROUNDS, speed=speed)) == []


def test_the_header_of_an_epoch_that_began_since_the_chain_was_asked_is_right() -> None:
    newest = header(101, 10**6 + 5, NOW + 15, HOUR_ROUNDS)
    assert check([*headers([0.0] * 3, seconds=HOUR_SECONDS, rounds=HOUR_ROUNDS, phase=0.99), newest]) == []


def test_epochs_without_a_header_are_right() -> None:
    found = headers([0.0] * 8, seconds=HOUR_SECONDS, rounds=HOUR_ROUNDS)
    woken = found[6].model_copy(update={"rounds": 0})
    assert check([*found[:2], woken, found[7]]) == []


def test_a_tempo_that_was_changed_is_told() -> None:
    old = [header(epoch, 10**6 - 720 - (99 - epoch) * 720 - 720, 0, 720) for epoch in range(90, 100)]
    old = [each.model_copy(update={"time": NOW - 3 * (10**6 - each.first_round)}) for each in old]
    new = header(100, 10**6 - 720, NOW - 2_160, HOUR_ROUNDS)
    (remark,) = check([*old, new])
    assert (remark.epoch, remark.what) == (
        99,
        "an epoch had 720 beacon rounds, and has 1440 now: the subnet's tempo was changed since",
    )


def shifted(place: int, *, rounds: int = 0, seconds: float = 0) -> list[EpochHeader]:
    found = headers([0.0] * 4, seconds=HOUR_SECONDS, rounds=HOUR_ROUNDS)
    each = found[place]
    found[place] = each.model_copy(update={"first_round": each.first_round + rounds, "time": each.time + int(seconds)})
    return found


@pytest.mark.parametrize(
    ("rounds", "seconds", "what"),
    [
        (-3_000, -9_000, "its first round is 3720 rounds behind"),
        (3_000, 9_000, "its first round is 2280 rounds ahead of"),
        (0, -9_000, "its time is 11160 s behind"),
        (0, 9_000, "its time is 6840 s ahead of"),
        (-900, 0, "by its time, its first round is 900 rounds behind"),
        (900, 0, "by its time, its first round is 900 rounds ahead of"),
    ],
)
def test_a_header_that_was_not_made_then_is_named(rounds: int, seconds: float, what: str) -> None:
    with pytest.raises(Difference) as caught:
        check(shifted(3, rounds=rounds, seconds=seconds))
    assert str(caught.value) == f"epoch 100: the header was not made when its epoch began: {what} the chain's"


def test_first_rounds_that_are_too_near_to_each_other_are_named() -> None:
    with pytest.raises(Difference) as caught:
        check(shifted(1, rounds=1_500, seconds=4_500))
    assert str(caught.value).startswith(
        "epoch 98: about 1440 beacon rounds were expected up to the header of epoch 99, -60"
    )
