"""Repairs have miners read no faster than the operator allows."""

from __future__ import annotations

from hippy.validator.repair.budget import ReadBudget


def test_an_order_may_begin_at_once_and_the_next_when_it_is_paid_off() -> None:
    budget = ReadBudget(1_000.0)
    assert budget.wait_seconds(50.0) == 0.0
    budget.take(40_000, 50.0)
    assert budget.wait_seconds(50.0) == 40.0
    assert budget.wait_seconds(90.0) == 0.0


def test_what_was_not_used_is_not_saved_up() -> None:
    budget = ReadBudget(1_000.0)
    budget.take(1_000, 0.0)
    budget.take(5_000, 1_000.0)
    assert budget.wait_seconds(1_000.0) == 5.0


def test_orders_that_begin_together_are_paid_off_one_after_the_other() -> None:
    budget = ReadBudget(1_000.0)
    for _ in range(3):
        budget.take(2_000, 10.0)
    assert budget.wait_seconds(10.0) == 6.0
