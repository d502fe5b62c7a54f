"""Which orders to repair a miner takes (PROTOCOL §7): the rules, apart from HTTP, disks and sources. Pure.

An order is a validator's, so it grants what a ticket and its grant do (hippy.miner.service), and names where to read.
Whether the validator may give orders at all is the chain's to say, whether the mask is the right one its root's.

Example::

    check_order(order, sender, here, now)
    order.check_signature(order.ticket.validator, here.network)
"""

from __future__ import annotations

from hippy.errors import AuthError, ProtocolError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.miner.service import Here, check_granted
from hippy.wire.repair import RepairOrder


def check_order(order: RepairOrder, sender: PublicKey, here: Here, now: float) -> None:
    """Check everything about an order that needs neither chain, signature, mask nor disk.

    ``sender`` is who signed the request. Raises AuthError when the order grants its sender nothing here and now,
    ProtocolError when it contradicts itself.
    """
    check_granted(order.ticket, here, now)
    if sender != order.ticket.validator:
        raise AuthError(
            f"the order's ticket is of {ss58_encode(order.ticket.validator)}, it was sent by {ss58_encode(sender)}"
        )
    order.check_shape()
    if any(source.miner == here.miner for source in order.sources):
        raise ProtocolError("a repair's sources are other miners than the one that makes the piece")
