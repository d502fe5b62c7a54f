"""Reads what a status is made of: counters, small tables and what the running parts know, never a whole registry.

A sheet is parsed and explained once; of each miner one counter is read.

Example::

    status = await Gatherer(home, database, chain, directory, auditor, clock).status()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.kv import Database, Reader
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home, position
from hippy.validator.page.figures import Sources
from hippy.validator.page.status import NO_STANDINGS, Facts, Standings, standings_of, status_of
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import HELD_COUNT, get_count
from hippy.wire.audit import EpochHeader
from hippy.wire.status import NetworkStatus

NOBODY_COUNTS: Final = Sources()


class Gatherer:
    """Makes the status of one validator."""

    def __init__(
        self,
        home: Home,
        database: Database,
        chain: Chain,
        directory: MinerDirectory,
        auditor: Auditor,
        clock: Clock,
        sources: Sources = NOBODY_COUNTS,
    ) -> None:
        self._home = home
        self._database = database
        self._chain = chain
        self._directory = directory
        self._auditor = auditor
        self._clock = clock
        self._sources = sources
        self._standings = NO_STANDINGS

    async def status(self) -> NetworkStatus:
        """Return the status as of now; what the chain does not tell is left out."""
        block, chain_epoch = await _told(self._chain.current_block), await _told(self._chain.current_epoch)
        miners, metagraph = self._directory.entries(), self._directory.metagraph
        owed = {miner.hotkey: self._auditor.owed_by(miner.hotkey) for miner in miners}
        now, lag, weights = int(self._clock.now()), self._auditor.lag(), self._auditor.weights
        beacon_round = self._auditor.newest_round

        def work(reader: Reader) -> NetworkStatus:
            header = epochs.newest_header(reader)
            facts = Facts(
                validator=self._home.hotkey,
                network=self._home.network,
                netuid=self._home.netuid,
                now=now,
                block=block,
                chain_epoch=chain_epoch,
                beacon_round=beacon_round,
                header=header,
                log_seq=position(reader).seq,
                metagraph=metagraph,
                miners=miners,
                held_pieces={miner.hotkey: get_count(reader, HELD_COUNT + miner.hotkey) for miner in miners},
                owed_batches=owed,
                standings=self._standings_as_of(reader, header),
                committed_segments=get_statistic(reader, Statistic.SEGMENTS),
                released_segments=get_statistic(reader, Statistic.RELEASED),
                entries=epochs.entry_count(reader),
                lag=lag,
                weights=weights,
                health=self._sources.health(reader),
                repair=self._sources.repair(reader),
                followed=self._sources.followed(reader),
            )
            return status_of(facts)

        return await self._database.read(work)

    def _standings_as_of(self, reader: Reader, header: EpochHeader | None) -> Standings:
        """Return what the newest sheet says; one that was looked at is kept."""
        epoch = None if header is None else header.prev_epoch
        if epoch != self._standings.epoch:
            sheet = None if epoch is None else epochs.get_sheet(reader, epoch)
            self._standings = NO_STANDINGS if sheet is None else standings_of(sheet)
        return self._standings


async def _told(ask: Callable[[], Awaitable[int]]) -> int | None:
    try:
        return await ask()
    except HippyError:
        return None  # /readyz says that the chain is away
