"""The tables of ``hippy sim durability``: assumptions first, then what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from hippy.cli.printing import shown
from hippy.sim.durability.chain import YEAR_HOURS
from hippy.sim.durability.churn import SOURCES, Churn
from hippy.sim.durability.comparison import SHARES, Row, Standing
from hippy.sim.durability.published import Check
from hippy.sim.durability.report import summary_of
from hippy.sim.durability.settings import Settings, Vanish, assumptions
from hippy.sim.durability.simulation import Run


def print_assumptions(settings: Settings, repair_hours: float) -> None:
    """Print what is assumed, and where each figure is from."""
    click.secho("Assumptions", bold=True)
    rows = assumptions(settings)
    rows.insert(
        4, ("repair takes", f"{repair_hours:g} h", "an assumption, for the calculation; the simulation finds out")
    )
    for what, value, source in rows:
        click.echo(f"  {what:13} {value:27} {shown(source)}")


def print_checks(checked: Sequence[Check]) -> None:
    """Print the published figures beside ours."""
    click.secho("\nPublished by others, computed here", bold=True)
    click.echo(f"  {'':46}{'published':>21}{'computed':>21}")
    for check in checked:
        verdict = "" if check.agrees else "  DIFFERS"
        click.echo(f"  {check.what:46}{check.published:>21}{check.computed:>21}{verdict}")


def print_standings(standing: Sequence[Standing], churn: Churn) -> None:
    """Print how our profiles stand."""
    click.secho("\nOur profiles, pieces lost independently", bold=True)
    click.echo(
        f"  {'':17}{'repaired':>9}{'loss in':>10}{'mean years':>12}{'':>7}"
        f"{'nines at a churn in a day of':>{8 * len(SOURCES)}}{'lost at once with a hidden operator of':>42}"
    )
    click.echo(
        f"  {'':17}{'at':>9}{'a year':>10}{'to loss':>12}{'nines':>7}"
        + "".join(f"{source.per_day:>8.2%}" for source in SOURCES)
        + "  "
        + "".join(f"{share:>10.0%}" for share in SHARES)
    )
    for each in standing:
        name = each.name if each.name == str(each.profile) else f"{each.name} {each.profile}"
        click.echo(
            f"  {name:17}{each.profile.repair_threshold:9}{each.fate.annual_loss:10.1e}"
            f"{each.fate.mean_hours / YEAR_HOURS:12.1e}{_nines(each.fate.nines):>7}"
            + "".join(f"{_nines(found):>8}" for found in each.nines_by_source)
            + "  "
            + "".join(f"{lost:10.1e}" for lost in each.lost_with)
        )
    click.echo(
        f"  The first columns are at {churn.per_day:.2%} a day. The last say what share of segments is lost when an\n"
        "  operator with that share of all capacity, whom placement cannot tell from many, vanishes at one moment."
    )


def print_comparison(compared: Sequence[Row]) -> None:
    """Print ours beside others."""
    click.secho("\nBeside others", bold=True)
    click.echo(f"  {'':49}{'stored':>7}{'loss in a year':>16}{'nines':>7}")
    for row in compared:
        stretch = "" if math.isnan(row.stretch) else f"{row.stretch:.2f}x"
        click.echo(f"  {row.name:49}{stretch:>7}{row.annual_loss:16.1e}{_nines(row.nines):>7}  {row.kind}")


def print_run(run: Run) -> None:
    """Print what the simulation showed."""
    settings, summary = run.settings, summary_of(run)
    profile = settings.profile
    click.secho(
        f"\nSimulated: {settings.segments:,} segments of {profile} on {settings.miners:,} miners, "
        f"{settings.days} days, seed {settings.seed}",
        bold=True,
    )
    lines = [
        ("segments lost", f"{summary.lost} in {summary.segment_years:,.0f} segment-years"),
        ("nines", _interval(summary.lost, summary.nines_low, summary.nines_high)),
        ("fewest healthy", f"{summary.healthy_min} of {profile.n}; lost below {profile.k}"),
        ("miners that left", f"{summary.departures:,}"),
        ("repairs", f"{summary.repairs:,} of segments, {summary.pieces_rebuilt:,} pieces rebuilt"),
        ("repair traffic", f"{summary.traffic_per_month:.2f} TB a month for each TB stored"),
        ("masks", f"{summary.mask_mbit:,.0f} Mbit/s from validators, of that traffic, on average"),
        (
            "backlog",
            f"at most {summary.backlog_max:,} segments, {summary.backlog_max_tb:,.0f} TB of traffic; "
            f"{summary.backlog_days} days ended with ten or more",
        ),
    ]
    if settings.vanish is not Vanish.NONE:
        gone = f"{summary.vanished_miners} miners ({settings.vanish.value}), halfway"
        lines.insert(1, ("vanished", f"{gone}: {summary.lost_at_vanishing} of the losses at that moment"))
    for what, value in lines:
        click.echo(f"  {what:17} {value}")
    _print_health(run)


def _print_health(run: Run) -> None:
    """Print how many segments have how many healthy pieces: at the end, and the day after somebody vanished."""
    days = [("at the end", len(run.health) - 1)]
    if run.settings.vanish is not Vanish.NONE:
        days.insert(0, ("day after vanishing", math.floor(run.settings.vanish_hour / 24) + 1))
    counts = [
        healthy for healthy in range(run.settings.profile.n + 1) if any(run.health[day][healthy] for _, day in days)
    ]
    click.echo(f"  {'healthy pieces':20}" + "".join(f"{healthy:>6}" for healthy in counts))
    for name, day in days:
        click.echo(f"  {name:20}" + "".join(f"{run.health[day][healthy]:>6}" for healthy in counts))


def _interval(lost: int, low: float, high: float) -> str:
    if lost == 0:
        return f"at least {low:.1f} (95 %, rule of three): more than this run can show"
    return f"{low:.1f} to {high:.1f} (95 %, if losses were independent)"


def _nines(nines: float) -> str:
    return "-" if math.isinf(nines) else f"{nines:.1f}"
