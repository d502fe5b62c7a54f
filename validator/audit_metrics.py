"""What a validator's audits come to, as metrics; the registry's are hippy.validator.admin_routes's.

Example::

    figures = AuditFigures(database, chain, directory, auditor)
    await figures.samples()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, get_args

from hippy.chain.protocol import Chain
from hippy.errors import HippyError
from hippy.kv import Database, Reader
from hippy.transport.figures import Metric, Sample
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.directory import MinerDirectory
from hippy.wire.node import MinerEntry

EPOCH: Final = Metric("hippy_validator_epoch", "gauge", "The epoch that is being audited.")
BEHIND: Final = Metric(
    "hippy_validator_epochs_behind", "gauge", "Epochs that the chain is ahead of the audits: 0, or 1 for a moment."
)
ENTRIES: Final = Metric("hippy_validator_audit_entries", "gauge", "Outcomes in the present epoch's transcript.")
OWED: Final = Metric("hippy_validator_batches_owed", "gauge", "Batches that miners owe an answer to.")
MINERS: Final = Metric("hippy_validator_miners", "gauge", "Miners of the subnet, by state.", ("state",))
WEIGHED: Final = Metric(
    "hippy_validator_weights_epoch", "gauge", "The epoch whose weights the chain took last, since the start."
)
METRICS: Final = (EPOCH, BEHIND, ENTRIES, OWED, MINERS, WEIGHED)

STATES: Final[tuple[str, ...]] = get_args(MinerEntry.model_fields["state"].annotation)


class AuditFigures:
    """Reads the figures of one validator's audits."""

    def __init__(self, database: Database, chain: Chain, directory: MinerDirectory, auditor: Auditor) -> None:
        self._database = database
        self._chain = chain
        self._directory = directory
        self._auditor = auditor

    async def samples(self) -> list[Sample]:
        """Return what is known now; what the chain does not tell has no sample."""
        epoch, entries = await self._database.read(_progress)
        return list(self._samples(epoch, entries, await self._chain_epoch()))

    def _samples(self, epoch: int | None, entries: int, chain_epoch: int | None) -> Iterator[Sample]:
        if epoch is not None:
            yield EPOCH.sample(epoch)
            yield ENTRIES.sample(entries)
            if chain_epoch is not None:
                yield BEHIND.sample(max(0, chain_epoch - epoch))
        miners = self._directory.entries()
        states: Counter[str] = Counter(entry.state for entry in miners)
        for state in STATES:
            yield MINERS.sample(states[state], state)
        yield OWED.sample(sum(self._auditor.owed_by(entry.hotkey) for entry in miners))
        if self._auditor.weighed_epoch is not None:
            yield WEIGHED.sample(self._auditor.weighed_epoch)

    async def _chain_epoch(self) -> int | None:
        try:
            return await self._chain.current_epoch()
        except HippyError:
            return None  # /readyz says that the chain is away


def _progress(reader: Reader) -> tuple[int | None, int]:
    header = epochs.newest_header(reader)
    return (None, 0) if header is None else (header.epoch, epochs.entry_count(reader))
