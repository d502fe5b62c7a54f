"""Accounts: per unit of capacity, against an honest peer in the same run."""

from __future__ import annotations

import pytest

from hippy.sim.economy import Account, account_of, honest_peer
from hippy.sim.report import Prices
from hippy.sim.strategies import HONEST
from tests.sim.worlds import row, run

HONEST_ACCOUNT = Account(revenue=1, disk=1, bandwidth=1, registration=1, fee=0, peer_bandwidth=1)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_an_honest_miner_spends_the_share_of_its_revenue_that_is_said(share: float) -> None:
    assert HONEST_ACCOUNT.cost(share) == pytest.approx(share)
    assert HONEST_ACCOUNT.against_honesty(share) == pytest.approx(1)


def test_an_identity_more_costs_a_registration_more() -> None:
    two = Account(revenue=1, disk=1, bandwidth=1, registration=2, fee=0, peer_bandwidth=1)
    assert two.cost(0.5) == pytest.approx(0.55)


def test_a_fee_is_a_cost() -> None:
    paying = Account(revenue=1.2, disk=1, bandwidth=1, registration=1, fee=0.3, peer_bandwidth=1)
    assert paying.profit(0.5) == pytest.approx(0.4)
    assert paying.against_honesty(0.5) == pytest.approx(0.8)


def test_luck_in_placement_is_taken_out() -> None:
    done = run("split-1", downtime=0.0, loss=0.0)
    miners = done.by_operator[HONEST]
    peer = honest_peer(miners)
    found = [account_of([miner], peer) for miner in miners]
    assert max(each.disk for each in found) == pytest.approx(min(each.disk for each in found))
    assert all(each.against_honesty(0.9) == pytest.approx(1, abs=0.03) for each in found)
    assert row(done, "split-1", Prices(0.9)).ratio == pytest.approx(1, abs=0.03)
