"""``hippy sim durability``: how likely stored data is lost, calculated and simulated.

Owns the options, which are named like the fields of hippy.sim.durability.settings; the tables are
hippy.cli.sim_durability_tables', the numbers hippy.sim.durability's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import json_option, print_json
from hippy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hippy.sim.durability.churn import Churn
    from hippy.sim.durability.settings import Settings

VANISH: Final = ("sybil", "operator", "group", "none")


@click.command(
    epilog="""\b
Examples:
  hippy sim durability                                 everything at the default assumptions, 15 seconds
  hippy sim durability --analytic                      the calculations alone, at once
  hippy sim durability --churn 0.011 --ec careful      miners that stay three months, and more pieces
  hippy sim durability --churn departures.csv          churn as observed: date,miners,departed by day
  hippy sim durability --vanish sybil --largest 0.3 --plot loss.png
"""
)
@click.option(
    "--churn", metavar="RATE|FILE", help="Share of miners that leaves in a day, or a CSV file (default: 10 % a month)."
)
@click.option("--ec", metavar="K/N", default="standard", show_default=True, help="The code that is simulated.")
@click.option("--analytic", is_flag=True, help="Calculate, do not simulate.")
@click.option("--days", type=click.IntRange(1, 3_660), default=365, show_default=True)
@click.option("--miners", type=click.IntRange(1, 20_000), default=1_000, show_default=True)
@click.option("--segments", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True)
@click.option("--stored-tb", type=click.FloatRange(0, min_open=True), default=1_000, show_default=True, metavar="TB")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same run.")
@click.option(
    "--repair-mbit",
    type=click.FloatRange(0, min_open=True),
    default=25,
    show_default=True,
    metavar="MBIT",
    help="Bandwidth that every miner has for repair (simulation), in Mbit/s.",
)
@click.option(
    "--repair-hours",
    type=click.FloatRange(0, min_open=True),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long a repair takes once it is needed (calculation).",
)
@click.option("--detection-hours", type=click.FloatRange(0, min_open=True), default=24, show_default=True)
@click.option(
    "--outages-per-month",
    type=click.FloatRange(0, 1_000),
    default=2,
    show_default=True,
    help="Times that a miner is away and comes back.",
)
@click.option("--outage-hours", type=click.FloatRange(0, min_open=True), default=2, show_default=True)
@click.option(
    "--vanish",
    type=click.Choice(VANISH),
    default="sybil",
    show_default=True,
    help="Who is gone at once, halfway: the largest operator, known or hidden behind many coldkeys; an address group.",
)
@click.option(
    "--largest",
    "largest_share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Share of all capacity that the largest operator has.",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw loss, health and backlog: a PNG.")
@json_option
def durability(
    churn: str | None,
    ec: str,
    analytic: bool,
    repair_hours: float,
    vanish: str,
    plot: Path | None,
    as_json: bool,
    **network: Any,
) -> int:
    """Calculate how likely a segment is lost, and simulate a network that loses miners and repairs.

    Published figures of others are computed first and compared with what they printed; then our profiles, by the same
    kind of calculation; then a network with operators, outages, limited bandwidth and somebody who vanishes. Every
    assumption is printed with its source. Exits with 1 if a published figure is not reproduced.
    """
    from hippy.erasure.geometry import parse_profile
    from hippy.sim.durability.settings import Settings, Vanish

    settings = Settings(profile=parse_profile(ec), churn=_churn(churn), vanish=Vanish(vanish), **network)
    return _answer(settings, repair_hours, plot, analytic=analytic, as_json=as_json)


def _answer(settings: Settings, repair_hours: float, plot: Path | None, *, analytic: bool, as_json: bool) -> int:
    from hippy.cli import sim_durability_tables as tables
    from hippy.sim.durability.comparison import comparison, named, standings
    from hippy.sim.durability.published import checks
    from hippy.sim.durability.report import to_dict
    from hippy.sim.durability.simulation import simulate
    from hippy.sim.plot import check_plotting

    if plot is not None:
        check_plotting()  # before the simulation
    profiles = named([settings.profile])
    checked = checks()
    standing = standings(profiles, settings.churn, settings.detection_hours, repair_hours)
    compared = comparison(settings.churn, settings.detection_hours, repair_hours)
    if not as_json:
        tables.print_assumptions(settings, repair_hours)
        tables.print_checks(checked)
        tables.print_standings(standing, settings.churn)
        tables.print_comparison(compared)
    run = None if analytic else simulate(settings, _teller(as_json=as_json))
    if plot is not None:
        from hippy.sim.durability.plot import draw

        draw(run, settings, profiles, repair_hours, plot)
    if as_json:
        print_json(to_dict(settings, repair_hours, checked, standing, compared, run))
    elif run is not None:
        tables.print_run(run)
    return 0 if all(check.agrees for check in checked) else 1


def _churn(text: str | None) -> Churn:
    """Read ``--churn``: a rate, or the name of a file."""
    from hippy.sim.durability.churn import DEFAULT, FILE_BYTES_MAX, parse_churn, steady

    if text is None:
        return DEFAULT
    try:
        rate = float(text)
    except ValueError:
        pass
    else:
        return steady(rate, "--churn")
    try:
        with Path(text).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(
            f"--churn {text}: no number and no file that can be read ({error.strerror})", hint="such as --churn 0.0033"
        ) from error
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(f"--churn {text}: more than {FILE_BYTES_MAX:,} bytes")
    try:
        return parse_churn(content.decode("utf-8-sig"), text)
    except UnicodeDecodeError:
        raise UsageError(f"--churn {text}: no text in UTF-8") from None


def _teller(*, as_json: bool) -> Callable[[int, int], None]:
    """Return what tells on standard error how far a run is, where somebody watches."""
    if as_json or not sys.stderr.isatty():
        return lambda _done, _days: None

    def tell(done: int, days: int) -> None:
        click.echo("\r\x1b[K" + ("" if done == days else f"day {done} of {days}"), nl=False, err=True)

    return tell
