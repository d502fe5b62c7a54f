"""How long commands tell how far they are, on standard error.

A bar on a terminal, a plain line every ten seconds elsewhere, JSON lines with ``--json``. rich is imported only
when a bar is drawn.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import human_bytes, rate, shown

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from hippy.client.progress import Progress

PLAIN_SECONDS: Final = 10.0
JSON_SECONDS: Final = 1.0


@contextmanager
def showing_progress(*, as_json: bool, quiet: bool = False) -> Iterator[Progress]:
    """Yield the Progress that suits where standard error goes."""
    from hippy.client.progress import SilentProgress

    if quiet:
        yield SilentProgress()
    elif as_json:
        yield LineProgress(JSON_SECONDS, _json_line)
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield bar
    else:
        yield LineProgress(PLAIN_SECONDS, _plain_line)


def _plain_line(stage: str, moved: int, total: int | None, seconds: float) -> str:
    of = f" of {human_bytes(total)}" if total is not None else ""
    left = f", {(total - moved) / (moved / seconds):.0f} s left" if total and moved else ""
    return f"{stage}: {human_bytes(moved)}{of}, {rate(moved, seconds)}{left}"


def _json_line(stage: str, moved: int, total: int | None, seconds: float) -> str:
    return json.dumps({"stage": stage, "bytes": moved, "total": total, "seconds": round(seconds, 1)})


class LineProgress:
    """A Progress that prints a line now and then."""

    def __init__(self, every_seconds: float, line: Any) -> None:
        self._every_seconds = every_seconds
        self._line = line
        self._stage = "starting"
        self._moved = 0
        self._total: int | None = None
        self._started = self._printed = time.monotonic()

    def stage(self, name: str) -> None:
        """A new part of the work begins."""
        self._stage = name

    def total(self, total_bytes: int | None) -> None:
        """So much is to be moved."""
        self._total = total_bytes

    def advance(self, moved_bytes: int) -> None:
        """So much more is done."""
        self._moved += moved_bytes
        now = time.monotonic()
        if now - self._printed >= self._every_seconds:
            self._printed = now
            click.echo(self._line(self._stage, self._moved, self._total, now - self._started), err=True)

    def note(self, text: str) -> None:
        """Something worth a line happened."""
        if self._line is _plain_line:
            click.echo(shown(text), err=True)
        else:
            click.echo(json.dumps({"note": text}), err=True)


class BarProgress:
    """A Progress that draws one bar on a terminal."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def stage(self, name: str) -> None:
        """A new part of the work begins."""
        self._bar.update(self._task, description=name)

    def total(self, total_bytes: int | None) -> None:
        """So much is to be moved."""
        self._bar.update(self._task, total=total_bytes)

    def advance(self, moved_bytes: int) -> None:
        """So much more is done."""
        self._bar.update(self._task, advance=moved_bytes)

    def note(self, text: str) -> None:
        """Something worth a line happened."""
        self._bar.console.print(shown(text), highlight=False, markup=False)


@contextmanager
def _bar() -> Iterator[BarProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield BarProgress(bar)
