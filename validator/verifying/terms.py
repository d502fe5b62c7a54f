"""Whose record is checked and what the chain says of it, and what was found right in an epoch. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from hippy.ids import NetworkId, PublicKey
from hippy.validator.audit.rules import AuditRules
from hippy.validator.verifying.sheet import Registration
from hippy.validator.verifying.timing import Moment


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose record is checked, and what the chain says of it.

    ``epoch_seconds`` and ``rounds`` are those of an epoch now, ``registrations`` the miners registered now. Without
    ``moment``, where the chain is now, nobody can say when headers were made. ``may_attest`` is whether the validator's
    word alone may take pieces, ``stakes`` are in rao of all validators with a permit now; ``rng`` chooses the receipts
    that are looked at.
    """

    network: NetworkId
    netuid: int
    validator: PublicKey
    rules: AuditRules
    epoch_seconds: float
    rounds: int
    registrations: Mapping[PublicKey, Registration]
    moment: Moment | None
    may_attest: bool
    rng: Random
    stakes: Mapping[PublicKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochMatch:
    """What was found right in an epoch, and how much of it is the validator's word.

    ``entries`` of the transcript are ``answered``, or testimony: ``silent``, ``offline``, ``unknown`` (asked, nothing
    counted), ``never_asked``, ``failed_unanswered``. ``left_out`` miners have no row because they are not registered;
    ``rules`` says which constants of the sheet are not the protocol's.
    """

    epoch: int
    miners: int
    batches: int
    entries: int
    answered: int
    verdicts: int
    leaves_ok: int
    leaves_bad: int
    voids: int
    silent: int
    offline: int
    unknown: int
    never_asked: int
    failed_unanswered: int
    left_out: int
    rules: str | None

    @property
    def testimony_ppm(self) -> int:
        """The share of entries that rest on the validator's word."""
        return 1_000_000 * (self.entries - self.answered) // self.entries if self.entries else 0
