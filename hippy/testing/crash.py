"""How a simulated node ends, for the parts of it that outlive their process: hippy.testing.disk, hippy.testing.kv.

::

    disk, database = disk.crash(Loss.POWER), database.crash()
"""

from __future__ import annotations

from enum import Enum


class Loss(Enum):
    """How a run ends."""

    KILL = "the process ended"
    POWER = "the machine lost power"


class MachineDown(BaseException):
    """A use of something whose machine has crashed; not an error, so that no handler of errors goes on from it."""
