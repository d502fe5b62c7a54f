"""Whether the weights on chain are those of a published sheet (PROTOCOL §6). Pure.

A chain keeps weights as 16-bit parts of the largest one. They may be of a sheet before the newest: they are set some
time after the sheet is made, and a chain may limit how often, or reveal them later.

Example::

    epoch = matching_sheet(sheets, await chain.weights_of(uid), metagraph, validator)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.chain.weights import normalised
from hippy.ids import PublicKey
from hippy.validator.verifying.difference import Difference
from hippy.validator.weights import differences, weights_of
from hippy.wire.score import ScoreSheet

WEIGHT_MAX: Final = 65_535
"""The largest weight of a chain; the others are parts of it."""

LATE_SHEETS_MAX: Final = 2
"""How many sheets may be newer than the weights: the newest is not set yet, and a chain that hides weights for an epoch
reveals those of the one before it."""


def matching_sheet(
    sheets: Sequence[ScoreSheet], found: Mapping[int, float], metagraph: Metagraph, validator: PublicKey
) -> int | None:
    """Return the epoch of the newest sheet whose weights are ``found``, None where these sheets cannot tell.

    ``sheets`` are in order. A sheet without weights sets none, and the newest ones may not be set yet; so it takes two
    with weights to miss them on chain. Raises Difference when they are those of no sheet, or of one that is followed by
    more than LATE_SHEETS_MAX with other weights.
    """
    rewarding = [sheet for sheet in sheets if _by_sheet(sheet, validator)]
    for newer, sheet in enumerate(reversed(rewarding)):
        # A uid may have passed to another hotkey between the sheet and the setting, or since.
        for expected in (_by_sheet(sheet, validator), weights_of(sheet.miners, metagraph, validator)):
            if _furthest(expected, found) is None:
                if newer > LATE_SHEETS_MAX:
                    raise Difference(
                        f"the weights on chain are those of this epoch, and {newer} sheets with other weights followed",
                        epoch=sheet.epoch,
                    )
                return sheet.epoch
    if len(rewarding) < 2:
        return None
    newest = rewarding[-1]
    expected = _by_sheet(newest, validator)
    uid = _furthest(expected, found)
    assert uid is not None
    raise Difference(
        f"the weights on chain are those of no sheet from epoch {rewarding[0].epoch} on: uid {uid} has "
        f"{found.get(uid, 0.0):.6f} of all weights, {expected.get(uid, 0.0):.6f} was expected by the newest",
        epoch=newest.epoch,
    )


def _by_sheet(sheet: ScoreSheet, validator: PublicKey) -> dict[int, float]:
    return normalised({score.uid: float(score.weight) for score in sheet.miners if score.hotkey != validator})


def _furthest(expected: Mapping[int, float], found: Mapping[int, float]) -> int | None:
    """Return the uid whose weight is off most, None where all are what a chain makes of the expected ones."""
    unit = max(expected.values(), default=0.0) / WEIGHT_MAX
    off = differences(expected, found)
    beyond = {
        uid: abs(by)
        for uid, by in off.items()
        # Each is rounded by up to a unit, and all of them together move the sum that each is a share of.
        if abs(by) > unit * (2 + len(expected) * expected.get(uid, 0.0))
    }
    return max(beyond, key=lambda uid: beyond[uid]) if beyond else None
