"""Attestations: what a validator says of a miner that none of its contacts reached for a day (docs/PROTOCOL.md §5.5).

A home whose stake is too small to take pieces for silence by its word alone shows those of others beside its loss
record (:class:`hippy.wire.log.Loss`). An attestation says nothing of pieces or audits, and is about no later moment
than its own.

Example::

    Attestation(network=network, netuid=7, validator=ours, miner=miner, since=now - 90_000, time=now).signed(...)
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, Key, Network, Seconds
from hippy.wire.node import MINERS_MAX

ATTESTATIONS_BYTES_MAX: Final = 512 * 1024
"""1,024 of some 440 bytes."""

ATTESTATION_SECONDS_MAX: Final = 300
"""How much older than the loss record an attestation in it may be: it is asked for when a batch has failed."""

ATTESTERS_MAX: Final = 64
"""Validators of a subnet that have a permit."""


class Attestation(SignedMessage):
    """No contact of this validator with the miner has succeeded since ``since``, as of ``time``; by the validator."""

    TYPE = "attestation"
    network: Network
    netuid: U16
    validator: Key
    miner: Key
    since: Seconds
    time: Seconds


class Attestations(Message):
    """``GET /v1/attestations``: one for every miner that was silent for a day and more, by hotkey."""

    TYPE = "attestations"
    attestations: Annotated[tuple[Attestation, ...], Field(max_length=MINERS_MAX)]
