"""Sources are spread over their miners, and after a mismatch they are others."""

from __future__ import annotations

import random

from hippy.ids import PublicKey, Root
from hippy.validator.repair.failing import FAILING_SECONDS, SOURCES_MAX, FailingSources
from hippy.validator.repair.sources import ORDERS_PER_SOURCE_MAX, Readable, choose_sources
from hippy.wire.repair import RepairSource
from tests.validator.world import endpoint


def readable(index: int, orders: int = 0) -> Readable:
    root, miner = Root(bytes([index]) * 32), PublicKey(bytes([index + 1]) * 32)
    return Readable(RepairSource(index=index, root=root, miner=miner, endpoint=endpoint(index)), orders)


def chosen(found: list[Readable], k: int, *, suspects: tuple[int, ...] = (), seed: int = 0) -> list[int] | None:
    sources = choose_sources(found, k, suspects=suspects, rng=random.Random(seed))
    return None if sources is None else [source.index for source in sources]


def test_k_sources_are_chosen_in_the_order_of_their_indices() -> None:
    for seed in range(20):
        found = chosen([readable(index) for index in range(8)], 4, seed=seed)
        assert found is not None
        assert len(set(found)) == 4
        assert found == sorted(found)


def test_chance_decides_among_equals() -> None:
    all_seen = {index for seed in range(40) for index in chosen([readable(i) for i in range(8)], 4, seed=seed) or ()}
    assert all_seen == set(range(8))


def test_miners_that_serve_fewer_orders_come_first() -> None:
    found = [readable(index, orders=index % 2) for index in range(8)]
    assert chosen(found, 4) == [0, 2, 4, 6]


def test_a_miner_that_serves_as_many_orders_as_it_may_is_no_source() -> None:
    found = [readable(0, orders=ORDERS_PER_SOURCE_MAX), *map(readable, range(1, 5))]
    assert chosen(found, 4) == [1, 2, 3, 4]
    assert chosen(found[:4], 4) is None


def test_suspects_are_taken_only_where_there_are_no_others() -> None:
    found = [readable(index, orders=1 if index > 3 else 0) for index in range(8)]
    assert chosen(found, 4, suspects=(0, 1, 2, 3)) == [4, 5, 6, 7]
    assert set(chosen(found, 6, suspects=(0, 1, 2, 3)) or ()) > {4, 5, 6, 7}


def test_a_source_that_failed_is_left_out_for_a_while() -> None:
    failing, miner, root = FailingSources(), PublicKey(b"m" * 32), Root(b"r" * 32)
    failing.note(miner, root, 100.0)
    assert failing.is_failing(miner, root, 100.0 + FAILING_SECONDS - 1)
    assert not failing.is_failing(miner, root, 100.0 + FAILING_SECONDS)
    assert not failing.is_failing(miner, Root(b"x" * 32), 100.0)


def test_of_sources_that_failed_the_newest_are_remembered() -> None:
    failing, miner = FailingSources(), PublicKey(b"m" * 32)
    for number in range(SOURCES_MAX + 1):
        failing.note(miner, Root(number.to_bytes(32, "big")), 0.0)
    assert not failing.is_failing(miner, Root(bytes(32)), 1.0)
    assert failing.is_failing(miner, Root((1).to_bytes(32, "big")), 1.0)
