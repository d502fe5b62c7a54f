"""Where pieces go: weighted rendezvous hashing that nobody can grind and everybody can check (PROTOCOL §3.1).

Every candidate M gets, for piece i, a number x in (0, 1) from a keyed hash over the beacon, the segment's id, i
and M; the smallest -ln(x) / weight wins, so that M wins in proportion to its weight. The key is the epoch's
secret: the client, who chooses the segment id, cannot try ids until its friends win.

Pure: candidates and secrets in, chosen candidates out. Which miners are candidates is
hippy.validator.directory's, when to choose again hippy.validator.allocation's.

Invariants: the choice does not depend on the candidates' order; at most one piece of a segment per miner, and
where the network spreads, per coldkey and per address group.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hippy.errors import TemporaryError
from hippy.hashing import dk, kdf, keyed, u16, u64
from hippy.ids import PublicKey, SegmentId
from hippy.wire.log import Candidate


@dataclass(frozen=True, slots=True)
class Draw:
    """What a segment's placement is drawn from: the epoch's secret, the beacon's 32 bytes, the segment."""

    epoch_secret: bytes
    beacon: bytes
    segment_id: SegmentId


def epoch_secret(validator_secret: bytes, epoch: int) -> bytes:
    """Return s_e = H(kdf(epoch-secret, validator secret); u64 e)."""
    return keyed(kdf("epoch-secret", validator_secret), u64(epoch))


def place(
    indices: Sequence[int],
    candidates: Sequence[Candidate],
    draw: Draw,
    *,
    held: Collection[Candidate] = (),
    excluded: Collection[PublicKey] = (),
    spread: bool,
) -> tuple[Candidate, ...]:
    """Return the miner of each piece index, in order.

    ``held`` hold other pieces of the segment, ``excluded`` hotkeys are not considered; ``spread`` forbids two
    pieces on one coldkey or in one address group.

    Raises TemporaryError, naming both numbers, when there are too few candidates.
    """
    key = keyed(dk("place-key"), draw.epoch_secret)
    pool = [candidate for candidate in candidates if candidate.hotkey not in excluded]
    for holder in held:
        pool = _without(pool, holder, spread=spread)
    chosen: list[Candidate] = []
    for index in indices:
        if not pool:
            raise _too_few(len(indices), len(chosen))
        prefix = draw.beacon + draw.segment_id + u16(index)
        best = min(pool, key=lambda candidate: (_score(key, prefix, candidate), candidate.hotkey))
        chosen.append(best)
        pool = _without(pool, best, spread=spread)
    return tuple(chosen)


def _score(key: bytes, prefix: bytes, candidate: Candidate) -> float:
    """Return -ln(x) / weight; the smallest of all candidates wins."""
    drawn = int.from_bytes(keyed(key, prefix + candidate.hotkey)[:8], "little")
    return -math.log((drawn + 0.5) / 2**64) / candidate.weight


def _without(pool: list[Candidate], taken: Candidate, *, spread: bool) -> list[Candidate]:
    """Return who may still hold a piece once ``taken`` holds one."""
    if not spread:
        return [other for other in pool if other.hotkey != taken.hotkey]
    return [
        other
        for other in pool
        if other.hotkey != taken.hotkey and other.coldkey != taken.coldkey and other.group != taken.group
    ]


def _too_few(needed: int, found: int) -> TemporaryError:
    return TemporaryError(
        f"{needed} independent miners are needed for the pieces of this segment, {found} can take one now",
        hint="wait for more miners, or store with fewer pieces (--ec k/n)",
    )
