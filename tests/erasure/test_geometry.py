"""Profiles, thresholds and piece lengths (PROTOCOL §2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.erasure.geometry import (
    PIECES_MAX,
    PROFILES,
    Profile,
    general_threshold,
    parse_profile,
    piece_length,
    profile_of,
)
from hippy.errors import UsageError

quick = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def codes(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, PIECES_MAX))
    return draw(st.integers(1, n)), n


@pytest.mark.parametrize(
    ("name", "code", "repair", "commit"),
    [
        ("standard", "10/24", 18, 19),
        ("careful", "10/30", 20, 21),
        ("compact", "16/24", 21, 22),
        ("local", "4/8", 6, 7),
    ],
)
def test_named_profiles_are_those_of_the_design(name: str, code: str, repair: int, commit: int) -> None:
    profile = parse_profile(name)
    assert (str(profile), profile.repair_threshold, profile.commit_min) == (code, repair, commit)
    assert parse_profile(code) == profile == PROFILES[name]


def test_a_named_threshold_wins_over_the_rule() -> None:
    assert general_threshold(10, 30) == 21
    assert profile_of(10, 30).repair_threshold == 20


@pytest.mark.parametrize(
    ("k", "n", "repair", "commit"),
    [(1, 1, 1, 1), (1, 2, 1, 2), (3, 3, 3, 3), (2, 3, 2, 3), (2, 4, 2, 3), (3, 10, 8, 9), (29, 80, 56, 57)],
)
def test_other_codes_follow_the_general_rule(k: int, n: int, repair: int, commit: int) -> None:
    profile = profile_of(k, n)
    assert (profile.repair_threshold, profile.commit_min) == (repair, commit)


@quick
@given(codes())
def test_every_code_keeps_its_numbers_in_order(code: tuple[int, int]) -> None:
    profile = profile_of(*code)
    assert 1 <= profile.k <= profile.repair_threshold <= profile.commit_min <= profile.n <= PIECES_MAX
    assert parse_profile(str(profile)) == profile


@pytest.mark.parametrize(
    "text",
    ["", "10", "10/", "/24", "010/24", "10/24 ", "10/24\n", "+1/2", "1/2/3", "0/4", "5/4", "1/256", "1/1000"],
)
def test_a_profile_has_one_spelling(text: str) -> None:
    with pytest.raises(UsageError):
        parse_profile(text)


def test_digits_of_other_scripts_are_no_profile() -> None:
    with pytest.raises(UsageError):
        parse_profile("\N{ARABIC-INDIC DIGIT ONE}/2")


@pytest.mark.parametrize("repair", [3, 9])
def test_a_threshold_outside_k_and_n_is_refused(repair: int) -> None:
    with pytest.raises(UsageError, match="threshold"):
        Profile(4, 8, repair)


@quick
@given(st.integers(1, 2**40), st.integers(1, PIECES_MAX))
def test_pieces_hold_the_data_and_less_than_one_byte_each_more(length: int, k: int) -> None:
    assert 0 <= piece_length(length, k) * k - length < k


@pytest.mark.parametrize(("length", "k"), [(0, 4), (-1, 4), (10, 0), (10, 256)])
def test_no_data_and_no_code_have_no_piece_length(length: int, k: int) -> None:
    with pytest.raises(UsageError):
        piece_length(length, k)
