"""A validator's headers as a stranger checks them: one chain, every secret committed to beforehand (PROTOCOL §5.2).

Headers are added from the newest back, since each names the one before; none is believed that the newest does not
lead to. What the headers name (log, transcripts, sheets) is checked elsewhere.

Example::

    chain = HeaderChain(network, netuid, validator)
    chain.add(newest)
    while chain.oldest.prev_epoch is not None:
        chain.add(await fetch(chain.oldest.prev_epoch))
    chain.secret(newest.prev_epoch)
"""

from __future__ import annotations

from hippy.errors import AuthError, ProtocolError
from hippy.ids import ZERO_ID, NetworkId, PublicKey
from hippy.proofs.challenge import seed_commit
from hippy.validator.verifying.difference import Difference
from hippy.wire.audit import EpochHeader, HeadName


class HeaderChain:
    """The newest headers of one validator, without holes between those that it made."""

    def __init__(self, network: NetworkId, netuid: int, validator: PublicKey) -> None:
        self._network = network
        self._netuid = netuid
        self._validator = validator
        self._newest_first: list[EpochHeader] = []
        self._places: dict[int, int] = {}

    @property
    def newest(self) -> EpochHeader:
        """The first header that was added."""
        return self._newest_first[0]

    @property
    def oldest(self) -> EpochHeader:
        """The last header that was added."""
        return self._newest_first[-1]

    @property
    def oldest_first(self) -> list[EpochHeader]:
        """All headers."""
        return self._newest_first[::-1]

    def add(self, header: EpochHeader) -> None:
        """Add the newest header, and then each time the one before the oldest.

        Raises Difference unless it is the validator's and the one that the header after it follows.
        """
        self._check_alone(header)
        if self._newest_first:
            self._check_link(header, self.oldest)
        self._places[header.epoch] = len(self._newest_first)
        self._newest_first.append(header)

    def __len__(self) -> int:
        return len(self._newest_first)

    def __contains__(self, epoch: int) -> bool:
        return epoch in self._places

    def header(self, epoch: int) -> EpochHeader:
        """Return the header of an epoch that is in the chain."""
        return self._newest_first[self._places[epoch]]

    def upto(self, epoch: int) -> list[EpochHeader]:
        """Return the headers of this epoch and older ones, newest first."""
        return self._newest_first[self._places[epoch] :]

    def after(self, epoch: int) -> EpochHeader:
        """Return the header that closed an epoch, which is in the chain and not the newest."""
        place = self._places[epoch]
        assert place > 0
        return self._newest_first[place - 1]

    def secret(self, epoch: int) -> bytes:
        """Return the secret of an epoch that is in the chain and not the newest."""
        revealed = self.after(epoch).revealed
        assert revealed is not None  # check_shape: the one after is not the first
        return revealed

    def has_gap_since(self, epoch: int) -> bool:
        """Return whether the validator slept through an epoch behind this one, as far as the chain tells."""
        headers = self._newest_first[: self._places.get(epoch, len(self._newest_first))]
        return any(not header.is_committed for header in headers)

    def _check_alone(self, header: EpochHeader) -> None:
        """Raises Difference unless the header is well formed and signed by the validator for this network."""
        found = (header.network, header.netuid, header.validator)
        if found != (self._network, self._netuid, self._validator):
            raise Difference("the header is of another network, subnet or validator", epoch=header.epoch)
        if header.rounds and not header.is_committed:
            raise Difference(
                f"no header committed to this epoch's secret, so 0 rounds were expected, {header.rounds} were found",
                epoch=header.epoch,
            )
        try:
            header.check_shape()
            header.check_signature(self._validator, self._network)
        except (AuthError, ProtocolError) as error:
            raise Difference(f"the header does not hold: {error.message}", epoch=header.epoch) from None
        log_head(header)

    def _check_link(self, header: EpochHeader, after: EpochHeader) -> None:
        """Raises Difference unless ``after`` follows ``header``."""
        if after.prev_header == ZERO_ID:
            raise Difference(
                f"the header says that it is the first, but there is one of epoch {header.epoch}", epoch=after.epoch
            )
        if after.prev_epoch != header.epoch or after.prev_header != header.id(self._network):
            raise Difference(
                f"the header of epoch {after.epoch} follows another header than the one that is shown",
                epoch=header.epoch,
            )
        place = self._places[after.epoch]
        if after.is_committed and place > 0 and seed_commit(self.secret(after.epoch)) != header.seed_commit:
            raise Difference(
                f"the secret revealed is not the one that the header of epoch {header.epoch} committed to",
                epoch=after.epoch,
            )
        earlier = (header.time, header.first_round, log_head(header).seq)
        later = (after.time, after.first_round, log_head(after).seq)
        for name, old, new in zip(("time", "first round", "log head"), earlier, later, strict=True):
            if new < old:
                raise Difference(f"the {name} is {new}, below {old} in the header before", epoch=after.epoch)


def log_head(header: EpochHeader) -> HeadName:
    """Return the head of the validator's own log that a header names.

    Raises Difference unless it names that one and no other: validators follow no other logs yet.
    """
    (head, *others) = header.heads
    if others or head.home != header.validator:
        raise Difference("the header names logs that are not its validator's", epoch=header.epoch)
    return head
