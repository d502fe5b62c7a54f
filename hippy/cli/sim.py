"""``hippy sim``: what honesty earns and what every other strategy does, in a simulated network.

Owns the options, the table and how far a run is, on standard error; the simulation is hippy.sim's. ``hippy sim
durability`` is hippy.cli.sim_durability's, which is imported when it is used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.printing import human_bytes, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hippy.sim.report import Portion, Row, WashRow
    from hippy.sim.simulation import Run

TELLINGS: Final = 60
"""Lines of progress in a run, at most."""

HEADER: Final = (
    f"{'strategy':16}{'ids':>4}{'revenue':>9}{'cost':>8}{'profit':>9}{'against':>9}{'weight':>8}{'seen':>6}"
    f"{'Q':>7}{'U':>6}{'R':>6}{'T':>6}"
)


SUBCOMMANDS: Final = {"durability": "Calculate and simulate how likely stored data is lost."}


class SimGroup(click.Group):
    """A command of its own that has subcommands too, whose modules are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of subcommands."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in SUBCOMMANDS:
            return None
        from hippy.cli.sim_durability import durability

        return durability

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.group(
    cls=SimGroup,
    invoke_without_command=True,
    subcommand_metavar="[durability]",
    epilog="""\b
Examples:
  hippy sim                                      every strategy, 200 miners, 30 days
  hippy sim --days 7 --strategy drop-1%          one of them, a week
  hippy sim --cost-share 0.9 --report            thin margins; where every account's bytes went
  hippy sim --strategy split-16 --plot split.png weight over time, as a picture
  hippy sim durability --help                    another question: how likely is data lost?
""",
)
@click.option("--days", type=click.FloatRange(0, 366, min_open=True), default=30, show_default=True)
@click.option("--miners", type=click.IntRange(1, 1_000), default=200, show_default=True, help="Identities in all.")
@click.option("--validators", type=click.IntRange(1, 16), default=1, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same run.")
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    help="Run this strategy beside honest miners; may be given again (default: all; 'honest' alone: none).",
)
@click.option(
    "--cost-share",
    type=click.FloatRange(0, 0.99),
    default=0.5,
    show_default=True,
    help="What an honest miner spends of its revenue.",
)
@click.option(
    "--fee-share",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    help="What an account pays for a byte, of what the byte earns a miner.",
)
@click.option("--report", is_flag=True, help="Print what every account stores with every coldkey.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw weight over time into this PNG.")
@json_option
def sim(
    days: float,
    miners: int,
    validators: int,
    seed: int,
    strategies: tuple[str, ...],
    cost_share: float,
    fee_share: float,
    report: bool,
    plot: Path | None,
    as_json: bool,
) -> int | None:
    """Simulate a network in which some miners cheat, and say what that earns them.

    The audits, scores, placement and weights are the real ones; time, faults and the contents of disks are made up.
    Exits with 1 if a strategy beat honesty.
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return None
    from hippy.sim.report import Prices, portions_of, rows_of, to_dict, wash_rows
    from hippy.sim.settings import Settings
    from hippy.sim.simulation import simulate
    from hippy.sim.strategies import chosen

    if plot is not None:
        from hippy.sim.plot import check_plotting

        check_plotting()  # before minutes of simulation
    settings = Settings(miners=miners, days=days, seed=seed, validators=validators)
    run = simulate(settings, chosen(strategies), _teller(as_json=as_json))
    prices = Prices(cost_share, fee_share)
    rows = rows_of(run, prices)
    if plot is not None:
        _plot(run, plot)
    if as_json:
        print_json(to_dict(run, prices))
    else:
        _print_rows(rows)
        _print_wash(wash_rows(run, prices))
        if report:
            _print_portions(portions_of(run))
    return 1 if any(row.beats_honesty for row in rows) else 0


def _refuse_options(ctx: click.Context) -> None:
    """Say that an option in front of a subcommand does nothing there, rather than let it do nothing."""
    for option in ctx.command.params:
        if option.name and ctx.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE:
            name = ctx.invoked_subcommand
            raise click.UsageError(
                f"options of {name} come after its name; {option.opts[0]} before it is hippy sim's own"
            )


def _teller(*, as_json: bool) -> Callable[[int, int], None]:
    """Return what tells on standard error how far a run is."""
    on_terminal = sys.stderr.isatty() and not as_json

    def tell(done: int, epochs: int) -> None:
        step = max(1, epochs // (TELLINGS if on_terminal or as_json else 10))
        if done % step and done != epochs:
            return
        if as_json:
            click.echo(json.dumps({"epoch": done, "of": epochs}), err=True)
        elif on_terminal:
            click.echo("\r\x1b[K" + ("" if done == epochs else f"epoch {done} of {epochs}"), nl=False, err=True)
        else:
            click.echo(f"epoch {done} of {epochs}", err=True)

    return tell


def _plot(run: Run, path: Path) -> None:
    from hippy.sim.plot import draw_weights
    from hippy.sim.settings import DAY_SECONDS
    from hippy.sim.simulation import weights_over_time

    draw_weights(weights_over_time(run), path, epochs_per_day=DAY_SECONDS / run.settings.epoch_seconds)


def _print_rows(rows: Sequence[Row]) -> None:
    click.echo(HEADER)
    for row in rows:
        seen = "-" if row.detected_epoch is None else str(row.detected_epoch)
        click.echo(
            f"{row.strategy:16}{row.identities:4}{row.revenue:9.2f}{row.cost:8.2f}{row.profit:9.2f}{row.ratio:9.3f}"
            f"{row.weight:8.3f}{seen:>6}{row.proofs:7.3f}{row.uptime:6.2f}{row.reads:6.2f}{row.speed:6.2f}"
            + ("  beats honesty" if row.beats_honesty else "")
        )
    click.echo(
        "For equal capacity, an honest miner's revenue being 100. against: profit by an honest one's; weight: at the\n"
        "end, by an honest one's; seen: epoch of the first detection; Q proofs, U uptime, R reads, T speed: at the end."
    )


def _print_wash(rows: Sequence[WashRow]) -> None:
    for row in rows:
        click.echo(
            f"{row.account}: {human_bytes(row.bytes)}, of which {row.share:.2%} with its friends "
            f"({row.expected_share:.2%} by weight); that earned {row.earned:.2f} and cost {row.fee:.2f}; "
            f"it would pay at a fee below {row.break_even:.2%} of what a byte earns"
        )


def _print_portions(portions: Sequence[Portion]) -> None:
    click.echo(f"{'account':24}{'coldkey':14}{'strategy':16}{'stored':>12}{'share':>9}{'by weight':>11}")
    for each in portions:
        click.echo(
            f"{each.account:24}{each.coldkey[:12]:14}{each.operator:16}{human_bytes(each.bytes):>12}"
            f"{each.share:9.2%}{each.expected_share:11.2%}"
        )
