"""How far a validator's asking is behind: a value for whoever watches it.

>>> AuditLag(due=0, owed=2, oldest_seconds=300).owed
2
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditLag:
    """Batches by what keeps them open."""

    due: int
    """Batches whose beacon round is known and that were not asked yet: more than a moment's worth is our own fault."""

    owed: int
    """Batches that were asked and are not settled; most are under way, the others their miners owe."""

    oldest_seconds: int
    """Since the oldest of the owed ones was first asked; 0 where none is."""
