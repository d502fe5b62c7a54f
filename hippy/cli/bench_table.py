"""The table of ``hippy bench``, drawn by rich. Imported once there is something to draw."""

from __future__ import annotations

from typing import Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hippy.bench.machine import Machine
from hippy.bench.measure import Measurement, Spread
from hippy.bench.report import Group, Report
from hippy.cli.printing import shown

PLAIN_COLUMNS: Final = 120
"""Width where no terminal tells one."""


def draw(report: Report) -> None:
    """Print a report on standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_COLUMNS)
    for line in machine_lines(report.machine):
        click.echo(line)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("case")
    table.add_column("time", justify="right")
    table.add_column("MB/s of user data", justify="right")
    table.add_column("ratio")
    for group in report.groups:
        margin = [group.title, f"{group.rounds} rounds"]
        for number, measurement in enumerate(group.measurements):
            table.add_row(margin[number] if number < len(margin) else "", *row(group, measurement))
        table.add_section()
    console.print(table)
    click.echo("Medians of the rounds, in parentheses their middle half; ratios are taken round by round.")


def machine_lines(machine: Machine) -> list[str]:
    """Return what says whose figures these are."""
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    flags = f", {' '.join(machine.flags)}" if machine.flags else ""
    load = " ".join(f"{value:.2f}" for value in machine.load) or "unknown"
    engine = f"{machine.engine}, {machine.library}" if machine.library else machine.engine
    lines = [
        f"machine  {machine.processor}, {cores}, {machine.architecture}{flags}",
        f"python   {machine.python} on {machine.system}",
        f"engine   {engine}",
        f"load     {load}",
    ]
    if machine.engine_reason:
        lines.insert(3, f"         {machine.engine_reason}; hippy doctor")
    return [shown(line) for line in lines]


def row(group: Group, measurement: Measurement) -> tuple[str, str, str, str]:
    """Return the cells of one case: its name, time, speed and ratios."""
    ratios = [
        f"{_figure(ratio.spread.median)}x {ratio.to} ({_figure(ratio.spread.low)} … {_figure(ratio.spread.high)})"
        for ratio in group.ratios_of(measurement.name)
    ]
    return measurement.name, _time(measurement.spread.median), _speed(measurement), "\n".join(ratios)


def _time(seconds: float) -> str:
    """Return ``12.3 ms`` or ``123 µs``."""
    if seconds >= 1e-3:
        return f"{_figure(seconds * 1e3)} ms"
    return f"{_figure(seconds * 1e6)} µs"


def _speed(measurement: Measurement) -> str:
    if not measurement.user_bytes:
        return ""
    spread = Spread.of(measurement.speeds)
    return f"{_figure(spread.median / 1e6)} ({_figure(spread.low / 1e6)} … {_figure(spread.high / 1e6)})"


def _figure(value: float) -> str:
    """Return three digits or all whole ones: 0.98, 12.3, 3,402."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
