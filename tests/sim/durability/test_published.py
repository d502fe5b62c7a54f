"""Figures that others published come out again."""

from __future__ import annotations

import pytest

from hippy.sim.durability.published import (
    STORJ_PUBLISHED,
    backblaze_loss,
    checks,
    storj_kept_percent,
    storj_monthly_loss,
    window_loss,
)


def test_backblazes_annual_loss_of_17_and_3_is_reproduced() -> None:
    assert f"{backblaze_loss():.3e}" == "7.354e-12"


@pytest.mark.parametrize(("lost", "published"), [(3, "2.399e-08"), (2, "5.545e-05"), (1, "7.781e-02")])
def test_the_other_rows_of_backblazes_table_are_reproduced(lost: int, published: str) -> None:
    assert f"{backblaze_loss(lost):.3e}" == published


def test_storjs_loss_of_4_of_8_is_reproduced() -> None:
    assert f"{1 - storj_monthly_loss(4, 8):.8f}" == "0.99858869"
    assert str(storj_kept_percent(4, 8)) == "99.858868985411326"


@pytest.mark.parametrize("code", [(16, 32), (20, 40), (32, 64), (20, 30), (20, 50), (100, 150)])
def test_storjs_larger_codes_are_reproduced_to_the_last_digit(code: tuple[int, int]) -> None:
    assert str(storj_kept_percent(*code)) == STORJ_PUBLISHED[code]


def test_every_published_figure_agrees() -> None:
    found = checks()
    assert len(found) == 1 + len(STORJ_PUBLISHED)
    assert [check.what for check in found if not check.agrees] == []


def test_a_figure_that_is_off_in_the_fourteenth_digit_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORJ_PUBLISHED, (4, 8), "99.858868985411426")
    assert [check.what for check in checks() if not check.agrees] == ["Storj 4/8: kept in a month at 10 %, percent"]


@pytest.mark.parametrize(
    ("pieces", "to_lose", "days", "expected"), [(19, 10, 1, 12.1), (19, 10, 3, 8.0), (21, 12, 1, 15.6)]
)
def test_windows_give_the_nines_that_the_profiles_were_chosen_by(
    pieces: int, to_lose: int, days: float, expected: float
) -> None:
    """Miners stay three months on average, every segment is one piece above its threshold."""
    from math import expm1, log10

    loss = window_loss(pieces, to_lose, -expm1(-days / 91.25), days)
    assert -log10(loss) == pytest.approx(expected, abs=0.06)
