"""The pure rules about orders to repair: which of them grant anything here and now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hippy.endpoint import Endpoint
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import AuthError, ProtocolError
from hippy.ids import NetworkId, PublicKey
from hippy.miner.orders import check_order
from hippy.miner.rebuilding import RANGE_BYTES_MAX, RANGES_BYTES_MAX, range_bytes, working_bytes
from hippy.miner.service import Here
from hippy.proofs.tree import LEAF_BYTES
from hippy.testing.clock import VirtualClock
from hippy.wire.repair import RepairOrder, RepairSource
from tests.miner.repairing import LOST, Stripe, source_identity
from tests.miner.world import ACCOUNT, MINER, NETUID, NETWORK, OTHER, VALIDATOR, ticket

CLOCK = VirtualClock()
NOW = int(CLOCK.now())
STRIPE = Stripe()
HERE = Here(NETWORK, NETUID, MINER.public_key)


def source(index: int, **changes: Any) -> RepairSource:
    values = {
        "index": index,
        "root": STRIPE.roots[index],
        "miner": source_identity(index).public_key,
        "endpoint": Endpoint("127.0.0.1", 4000 + index),
        **changes,
    }
    return RepairSource(**values)


GRANTED = ticket(STRIPE.pieces[LOST], CLOCK, index=LOST, upload_by=NOW + 10, keep_until=NOW + 20)
ORDER = RepairOrder(ticket=GRANTED, k=2, n=4, sources=(source(0), source(2)), mask_root=STRIPE.roots[1])
COPY = ORDER.model_copy(update={"sources": (source(LOST),), "mask_root": None})


@pytest.mark.parametrize("order", [ORDER, COPY])
@pytest.mark.parametrize("later", [-1000, 0, 10])
def test_a_good_order_passes(order: RepairOrder, later: int) -> None:
    check_order(order, VALIDATOR.public_key, HERE, NOW + later)


@pytest.mark.parametrize(
    "here",
    [
        replace(HERE, network=NetworkId(b"o" * 32)),
        replace(HERE, netuid=NETUID + 1),
        replace(HERE, miner=OTHER.public_key),
    ],
)
def test_an_order_for_elsewhere_is_refused(here: Here) -> None:
    with pytest.raises(AuthError, match="the ticket is for"):
        check_order(ORDER, VALIDATOR.public_key, here, NOW)


def test_an_order_is_refused_when_its_tickets_time_is_past() -> None:
    with pytest.raises(AuthError, match="expired"):
        check_order(ORDER, VALIDATOR.public_key, HERE, NOW + 10.5)
    owed_no_more = ORDER.model_copy(update={"ticket": GRANTED.model_copy(update={"upload_by": NOW + 30})})
    with pytest.raises(AuthError, match="owed only until"):
        check_order(owed_no_more, VALIDATOR.public_key, HERE, NOW + 21)


@pytest.mark.parametrize("sender", [OTHER.public_key, ACCOUNT.public_key, MINER.public_key])
def test_an_order_that_another_sends_than_its_tickets_validator_is_refused(sender: PublicKey) -> None:
    with pytest.raises(AuthError, match="the order's ticket is of"):
        check_order(ORDER, sender, HERE, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": (source(0),)},
        {"sources": (source(0), source(LOST))},
        {"sources": (source(0), source(2, miner=MINER.public_key))},
        {"mask_root": None},
    ],
    ids=["too few", "the piece itself", "read from ourselves", "without a mask"],
)
def test_an_order_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        check_order(ORDER.model_copy(update=changes), VALIDATOR.public_key, HERE, NOW)


@pytest.mark.parametrize("k", [1, 2, 10, 16, 100, 255])
def test_an_order_takes_memory_for_its_mask_its_piece_and_ranges_whatever_k_is(k: int) -> None:
    size = range_bytes(k)
    assert size % LEAF_BYTES == 0
    assert LEAF_BYTES <= size <= RANGE_BYTES_MAX
    assert size * k <= RANGES_BYTES_MAX
    longest = ORDER.model_copy(
        update={
            "ticket": GRANTED.model_copy(update={"piece_length": PIECE_LENGTH_MAX}),
            "sources": (source(0),) * k,
        }
    )
    assert working_bytes(longest) == 2 * PIECE_LENGTH_MAX + 2 * k * size
    assert working_bytes(longest) <= 16 * 1024 * 1024
    short = longest.model_copy(update={"ticket": GRANTED, "sources": (source(0),) * 2})
    assert working_bytes(short) == 6 * GRANTED.piece_length
