"""The receipts behind the log's holdings: who is said to hold a piece has signed that it does (PROTOCOL §3.2, §5.1).

A validator that writes a holding without a receipt could have a miner fail audits about a piece it never got. To check
every signature of a log would take longer than all else; so those are checked whose pieces cost their miner a verdict,
and some at random.

Kept are 104 bytes of each holding, beyond some in a temporary file: nothing has to be fetched again, and a million of
them need no memory.

Example::

    receipts = ReceiptCheck(log, network, Random())
    receipts.check_failed(epoch, failed, headers)
    receipts.check_some(epoch, seq)
"""

from __future__ import annotations

import tempfile
from random import Random
from struct import Struct
from typing import IO, TYPE_CHECKING, Final

from hippy.errors import AuthError, TemporaryError
from hippy.ids import MessageId, NetworkId, PublicKey, Root
from hippy.validator.verifying.difference import Difference
from hippy.wire.segment import Holding
from hippy.wire.ticket import Receipt

if TYPE_CHECKING:
    from hippy.validator.history import History

MEMORY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Kept in memory before they go to the file."""

SAMPLE: Final = 64
"""Receipts checked at random for every epoch, 0.2 ms each: of holdings a tenth of which nobody signed, one is found
with all but 0.1 %."""

FAILED_MAX: Final = 256
"""Receipts checked of one miner's failures in an epoch: above that a random choice."""

_RECEIPT: Final = Struct("<32sQ64s")


class Receipts:
    """What receipts say besides what a holding says, by the numbers of hippy.validator.history."""

    def __init__(self) -> None:
        self._newest = bytearray()
        self._file: IO[bytes] | None = None
        self._file_bytes = 0

    def add(self, holding: Holding) -> None:
        """Keep that of the next holding. Raises TemporaryError when the disk has no room for it."""
        self._newest += _RECEIPT.pack(holding.ticket_id, holding.time, holding.signature)
        if len(self._newest) >= MEMORY_BYTES_MAX:
            self._put_away()

    def get(self, number: int) -> tuple[MessageId, int, bytes]:
        """Return ticket id, time and signature. Raises TemporaryError when the disk fails."""
        place = number * _RECEIPT.size
        if self._file is None or place >= self._file_bytes:
            row = bytes(memoryview(self._newest)[place - self._file_bytes :][: _RECEIPT.size])
        else:
            try:
                self._file.seek(place)
                row = self._file.read(_RECEIPT.size)
            except OSError as error:
                raise _unkept(error) from None
        ticket_id, time, signature = _RECEIPT.unpack(row)
        return MessageId(ticket_id), time, signature

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _put_away(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
            self._file.seek(self._file_bytes)
            self._file.write(self._newest)
            self._file.flush()
        except OSError as error:
            raise _unkept(error) from None
        self._file_bytes += len(self._newest)
        self._newest.clear()


def _unkept(error: OSError) -> TemporaryError:
    return TemporaryError(
        f"the log's receipts cannot be kept in a file: {error.strerror}",
        hint="TMPDIR names a directory with more room",
    )


class ReceiptCheck:
    """Checks receipts, each once."""

    def __init__(self, history: History, receipts: Receipts, network: NetworkId, rng: Random) -> None:
        self._history = history
        self._receipts = receipts
        self._network = network
        self._rng = rng
        self._checked: set[int] = set()

    @property
    def checked(self) -> int:
        """How many were checked."""
        return len(self._checked)

    def check_failed(self, epoch: int, miner: PublicKey, roots: set[Root], seq: int) -> None:
        """Check the receipts for what failed a miner, of all its holdings of these roots as of record ``seq``.

        Raises Difference for one that the miner did not sign, or that stands for two holdings.
        """
        wanted = [number for _, number in self._history.numbers_of(miner, roots, seq)]
        if len(wanted) > FAILED_MAX:
            wanted = self._rng.sample(wanted, FAILED_MAX)
        tickets: dict[tuple[Root, MessageId], int] = {}
        for root, number in self._history.numbers_of(miner, roots):
            ticket_id, _, _ = self._receipts.get(number)
            earlier = tickets.setdefault((root, ticket_id), number)
            if earlier != number:
                raise self._wrong(epoch, number, "has the receipt of an earlier holding")
        for number in wanted:
            self._check(epoch, number)

    def check_some(self, epoch: int) -> None:
        """Check a random choice of all receipts. Raises Difference for one that its miner did not sign."""
        count = self._history.holding_count
        for number in self._rng.sample(range(count), min(SAMPLE, count)):
            self._check(epoch, number)

    def _check(self, epoch: int, number: int) -> None:
        if number in self._checked:
            return
        self._checked.add(number)
        miner, _, piece = self._history.holding(number)
        ticket_id, time, signature = self._receipts.get(number)
        receipt = Receipt(
            ticket_id=ticket_id,
            root=piece.root,
            piece_length=piece.piece_length,
            miner=miner,
            time=time,
            signature=signature,
        )
        try:
            receipt.check_signature(miner, self._network)
        except AuthError:
            raise self._wrong(epoch, number, "has no receipt that the miner signed") from None

    def _wrong(self, epoch: int, number: int, what: str) -> Difference:
        miner, seq, piece = self._history.holding(number)
        return Difference(
            f"record {seq} of the log says that the miner holds piece {piece.root.hex()}, but {what}",
            epoch=epoch,
            miner=miner,
        )
