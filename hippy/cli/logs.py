"""The log of a daemon: one JSON object a line on standard error, and no more lines than anybody could read.

A line has time, level, logger and message, and ``exc_info`` where there is a traceback; line breaks are escaped, so an
event is one line whatever it says. What repeats is counted instead of written: of one message at most LINES_MAX in
WINDOW_SECONDS, and the first of the next window says how many were left out. So a stranger who can make a node complain
cannot fill its disk.

Example::

    log_to_stderr("info")
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

LINES_MAX: Final = 20
"""Of one message in a window: enough to see what is going on."""

WINDOW_SECONDS: Final = 60.0
MESSAGES_MAX: Final = 1_024
"""Messages that are counted at once; the one seen least lately is forgotten."""


def log_to_stderr(level: str) -> None:
    """Send all logging at ``level`` and above to standard error as JSON, in place of what was set before."""
    from pythonjsonlogger.json import JsonFormatter

    fields = "{asctime}{levelname}{name}{message}"
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    formatter = JsonFormatter(fields, "%Y-%m-%dT%H:%M:%SZ", style="{", rename_fields=names)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(FloodFilter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


class FloodFilter(logging.Filter):
    """Lets at most LINES_MAX records of one message through in a window; the handler's lock guards it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._seen: OrderedDict[tuple[str, int, str], _Window] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written; the first after others were left out says how many."""
        key = (record.name, record.levelno, str(record.msg))  # before its arguments are put in: they vary
        window = self._seen.pop(key, None)
        now = self._now()
        if window is None or now - window.begin >= WINDOW_SECONDS:
            left_out = 0 if window is None else window.count - LINES_MAX
            window = _Window(now)
            if left_out > 0:
                record.left_out = left_out
        window.count += 1
        self._seen[key] = window
        if len(self._seen) > MESSAGES_MAX:
            self._seen.popitem(last=False)
        return window.count <= LINES_MAX


class _Window:
    """When the counting of a message began, and how many there were."""

    __slots__ = ("begin", "count")

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.count = 0
