"""When the auditor of a process audits: while it has the duty; otherwise it looks on, for another process does it.

All that routes, metrics and pages know of audits they know from one :class:`Auditor`. What another process did
meanwhile is in the registry: so the auditor is opened anew whenever the duty comes to this process, on a database on
which only the holder of the duty writes, and now and then while it has not, so that what is owed is told as it is. What
only the auditing process knows (how probes went in the present epoch, what became of weights) the others do not tell.

Example::

    tenure = Tenure(auditor, lambda database: open_auditor(replace(given, database=database)), clock)
    await tenure.run(Duty(database, "audit", clock), database)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.kv import Database
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.duty import Duty

log = logging.getLogger("hippy.validator")

LOOK_SECONDS: Final = 60.0
"""How often a process that does not audit reads the registry again: a few thousand rows."""

OPEN_PAUSE_SECONDS: Final = 5.0
"""Before another attempt to begin, where the chain did not tell what that takes."""

Opening = Callable[[Database], Awaitable[Auditor]]


class Tenure:
    """When the auditor of this process audits."""

    def __init__(self, auditor: Auditor, opening: Opening, clock: Clock) -> None:
        """``opening`` makes an auditor from what the registry says now."""
        self._auditor = auditor
        self._opening = opening
        self._clock = clock

    async def run(self, duty: Duty, database: Database) -> None:
        """Audit whenever the duty is ours, until cancelled; what the auditor raises, this raises."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(duty.run(self._audit))
            while True:
                await self._clock.sleep(LOOK_SECONDS)
                if not duty.is_held:
                    await self._look_on(duty, database)

    async def _audit(self, guarded: Database) -> None:
        while True:
            try:
                fresh = await self._opening(guarded)
                break
            except HippyError as error:
                log.warning("audits cannot begin yet: %s", error)
            await self._clock.sleep(OPEN_PAUSE_SECONDS)
        self._auditor.become(fresh)
        await self._auditor.run()

    async def _look_on(self, duty: Duty, database: Database) -> None:
        try:
            fresh = await self._opening(database)
        except HippyError as error:
            log.warning("how audits go is not known now: %s", error)
            return
        if not duty.is_held:  # it may have come to us meanwhile
            self._auditor.become(fresh)
