"""Whether the log's losses are those that audits and the chain came to (PROTOCOL §5.1, §5.5). Pure.

A leaf that was not shown loses its piece, a friend's too; nobody loses a piece by a batch that did not fail, nor all by
a departure that the chain does not show. A validator writes outcome and loss at once, so both lie between the same two
headers.

Example::

    check_lost(epoch, epoch_check.failed, headers, log)
    check_losses(epoch, failed, headers, log, may_attest=True)
    for difference in false_departures(headers.oldest_first, log, certain): ...
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.errors import AuthError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey, Root
from hippy.validator.audit.attesting import Rule, is_enough, permitted_stakes
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import FoundLoss, LogReading
from hippy.validator.verifying.terms import Terms
from hippy.wire.audit import EpochHeader
from hippy.wire.log import LossReason

ATTESTING: Final = Fraction(30, 100)
"""Of the stake of all validators: who takes pieces for silence has more than a third of it, then; stakes move."""

Failed = Mapping[tuple[BatchKey, LossReason], set[Root]]
"""By batch, the roots that it failed by, answered wrong or not at all."""


def failed_roots(failed: Failed, *reasons: LossReason) -> dict[PublicKey, dict[int, set[Root]]]:
    """Return the roots that failed for these reasons, by miner and the epoch of their batch."""
    roots: dict[PublicKey, dict[int, set[Root]]] = {}
    for (key, reason), each in failed.items():
        if reason in reasons:
            roots.setdefault(key.miner, {}).setdefault(key.epoch, set()).update(each)
    return roots


def check_lost(epoch: int, failed: Failed, headers: HeaderChain, log: LogReading) -> None:
    """Check that every piece of which a leaf was not shown in ``epoch`` was lost when it ended.

    Raises Difference naming the first that was still held.
    """
    end_seq = log_head(headers.after(epoch)).seq
    # Whether an unanswered batch costs pieces depends on the validator's stake.
    for miner, by_epoch in failed_roots(failed, "failed").items():
        still_held = {number for _, number in log.history.numbers_of(miner, set().union(*by_epoch.values()), end_seq)}
        if not still_held:
            continue
        for batch_epoch, roots in by_epoch.items():
            seq = log_head(headers.header(batch_epoch)).seq
            kept = {root for root, number in log.history.numbers_of(miner, roots, seq) if number in still_held}
            if kept:
                root = min(kept)
                raise Difference(
                    f"a leaf of piece {root.hex()} was not shown, "
                    "so its loss was expected in the log, and is not there",
                    epoch=batch_epoch,
                    miner=miner,
                    batch=_batch_of(failed, miner, batch_epoch, root),
                )


def check_losses(epoch: int, failed: Failed, headers: HeaderChain, log: LogReading, terms: Terms) -> None:
    """Check that every loss that the log has from ``epoch`` follows from a batch that failed in it.

    Where it was not answered, the validator's word alone is enough, or attestations are. Raises Difference naming the
    first loss that nothing led to.
    """
    low, high = log_head(headers.header(epoch)).seq, log_head(headers.after(epoch)).seq
    for loss in log.losses_between(low, high):
        key = BatchKey(loss.epoch, loss.miner, loss.batch)
        surplus = loss.roots - failed.get((key, loss.reason), set())
        what = None
        if surplus:
            what = f"by the transcript of epoch {epoch} the batch did not fail by it"
        elif loss.reason == "unanswered" and not terms.may_attest:
            surplus, what = loss.roots, _unattested(loss, terms)
        if what is not None:
            raise Difference(
                f"record {loss.seq} of the log takes piece {min(surplus).hex()} from the miner ({loss.reason}), "
                f"but {what}",
                epoch=loss.epoch,
                miner=loss.miner,
                batch=loss.batch,
            )


def false_departures(
    headers: Sequence[EpochHeader], log: LogReading, certain: Mapping[PublicKey, float]
) -> Iterator[Difference]:
    """Yield departures of miners that the chain shows registered since before they held anything of what they lost.

    ``headers`` are in order; records before the first are not looked at. ``certain`` is for each miner registered now
    the time from which on it was surely known to be.
    """
    seqs = [log_head(header).seq for header in headers]
    for departure in log.departures:
        place = bisect_left(seqs, departure.seq)
        since = certain.get(departure.miner)
        if place == 0 or since is None or departure.oldest_time is None:
            continue
        if min(departure.time, departure.oldest_time) > since:
            yield Difference(
                f"record {departure.seq} of the log says that the miner left, and takes all its pieces, "
                "but the chain shows it registered since before it held any of them",
                epoch=headers[place - 1].epoch,
                miner=departure.miner,
            )


def may_attest(metagraph: Metagraph, validator: PublicKey) -> bool:
    """Return whether a validator's word alone may take pieces, by its stake now."""
    return is_enough([validator], permitted_stakes(metagraph), more_than=ATTESTING)


def _unattested(loss: FoundLoss, terms: Terms) -> str | None:
    """Return what is wrong with a loss that its validator may not record alone, None where others attest it."""
    if not loss.attestations:
        return "a validator without a third of the stake takes none by its word alone"
    for each in loss.attestations:
        try:
            each.check_signature(each.validator, terms.network)
        except AuthError:
            return f"it shows an attestation that {ss58_encode(each.validator)} did not sign"
    rule = Rule(terms.network, terms.netuid, terms.validator, loss.miner, terms.rules.owed_seconds)
    counted = rule.counted(loss.attestations, terms.stakes, loss.time)
    if is_enough([terms.validator, *counted], terms.stakes, more_than=ATTESTING):
        return None
    return (
        f"{len(counted)} of the {len(loss.attestations)} attestations that it shows count, "
        "and with those validators it has no third of the stake"
    )


def _batch_of(failed: Failed, miner: PublicKey, epoch: int, root: Root) -> int:
    return next(
        key.number
        for (key, reason), roots in failed.items()
        if (key.epoch, key.miner, reason) == (epoch, miner, "failed") and root in roots
    )
