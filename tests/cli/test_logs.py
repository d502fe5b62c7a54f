"""The log: one JSON object a line, at the level that is set, and no flood."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

from hippy.cli.logs import LINES_MAX, MESSAGES_MAX, WINDOW_SECONDS, FloodFilter

SCRIPT = """
import logging
from hippy.cli.logs import log_to_stderr
log_to_stderr("info")
log = logging.getLogger("hippy.test")
log.debug("not this")
log.info("two\\nlines of %s", "one")
try:
    raise ValueError("a\\nb")
except ValueError:
    log.exception("failed")
for number in range(500):
    log.warning("stranger %d complains", number)
"""


def test_an_event_is_one_line_of_json_and_a_flood_is_a_few() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines[:2]] == ["two\nlines of one", "failed"]
    assert (lines[0]["level"], lines[0]["logger"]) == ("INFO", "hippy.test")
    assert lines[0]["time"].endswith("Z")
    assert "ValueError" in lines[1]["exc_info"]
    assert len(lines) == 2 + LINES_MAX


class Flood:
    """A filter with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.filter = FloodFilter(lambda: self.now)

    def passes(self, message: str, *args: object) -> logging.LogRecord | None:
        record = logging.LogRecord("hippy.test", logging.WARNING, "", 0, message, args, None)
        return record if self.filter.filter(record) else None


def test_what_was_left_out_is_told_with_the_next_window() -> None:
    flood = Flood()
    kept = [flood.passes("%d", number) for number in range(LINES_MAX + 7)]
    assert [record is not None for record in kept] == [True] * LINES_MAX + [False] * 7
    flood.now = WINDOW_SECONDS
    record = flood.passes("%d", 1)
    assert record is not None
    assert record.__dict__["left_out"] == 7
    again = flood.passes("%d", 1)
    assert again is not None
    assert "left_out" not in again.__dict__


def test_other_messages_are_not_held_back() -> None:
    flood = Flood()
    for number in range(LINES_MAX + 1):
        flood.passes("%d", number)
    assert flood.passes("something else") is not None


def test_what_is_remembered_is_bounded() -> None:
    flood = Flood()
    for number in range(MESSAGES_MAX + 50):
        flood.passes(f"message {number}")
    assert len(flood.filter._seen) == MESSAGES_MAX
