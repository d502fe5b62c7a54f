"""``hippy bench codec | segment | proofs | rejects``: how fast this machine does what a network asks of it.

Owns the options and how far a run is, on standard error; what is measured, and how, is hippy.bench's, and the table
is hippy.cli.bench_table's.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.printing import json_option, print_json

if TYPE_CHECKING:
    from hippy.bench.measure import Pace, RoundTeller
    from hippy.bench.report import Group
    from hippy.erasure.engines import EngineChoice

    Job = Callable[[EngineChoice, Pace, RoundTeller], Group]
    """Measures one group."""

ROUNDS_MAX: Final = 1_000
QUICK_ROUNDS: Final = 3
QUICK_SAMPLE_SECONDS: Final = 0.005
REJECTS_ROUNDS: Final = 200
REJECTS_SAMPLE_SECONDS: Final = 0.001
"""Refusals take fractions of a millisecond: on a busy machine most samples of a few of them pass undisturbed, of a
hundred none would, and their median says what one costs."""

SECONDS_MAX: Final = {"codec": 6.0, "segment": 30.0, "proofs": 10.0, "rejects": 20.0}
"""What the rounds of one group may take; codec has nine groups. Whoever gives ``--rounds`` gets them all."""

_SIZE: Final = re.compile(r"([1-9][0-9]{0,9})(KiB|MiB)?")
_UNIT_BYTES: Final = {None: 1, "KiB": 1024, "MiB": 1024 * 1024}


def _codes(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return k and n of each value."""
    if not values:
        return ()
    from hippy.erasure.geometry import parse_profile

    return tuple((profile.k, profile.n) for profile in map(parse_profile, values))


def _sizes(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[int, ...]:
    """Return the bytes of each value."""
    return tuple(map(_size, values))


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no size: write 65536, 64KiB or 4MiB")
    return int(match[1]) * _UNIT_BYTES[match[2]]


_ec = click.option(
    "--ec", "codes", multiple=True, metavar="K/N", callback=_codes, help="The erasure code; may be given again."
)
_rounds = click.option(
    "--rounds",
    type=click.IntRange(1, ROUNDS_MAX),
    help="Samples of each case (default 7, of rejects 200; fewer where a case is slow).",
)
_quick = click.option("--quick", is_flag=True, help="A look of two seconds: less data, fewer and shorter samples.")


@click.group()
def bench() -> None:
    """Measure how fast this machine codes, prepares, proves and refuses.

    Cases run in turns, so that their ratios hold on a busy machine too.
    """


@bench.command()
@_ec
@click.option(
    "--shard", "shards", multiple=True, metavar="SIZE", callback=_sizes, help="Bytes of a piece, such as 64KiB."
)
@_rounds
@_quick
@json_option
def codec(
    codes: tuple[tuple[int, int], ...], shards: tuple[int, ...], rounds: int | None, quick: bool, as_json: bool
) -> None:
    """Time the erasure code: the engine in use against zfec.

    Without options: 4/8, 10/24 and 16/24, each with pieces of 64 KiB, 256 KiB and 4 MiB.
    """
    from hippy.bench.codec import CODES, SHARDS_BYTES, measure_codec
    from hippy.bench.shape import Shape

    codes = codes or (CODES[1:2] if quick else CODES)
    shards = shards or (SHARDS_BYTES[:2] if quick else SHARDS_BYTES)

    def job(shape: Shape) -> Job:
        return lambda choice, pace, telling: measure_codec(
            shape, choice, pace, timer=time.perf_counter, telling=telling
        )

    jobs = {shape.title: job(shape) for shape in [Shape(k, n, shard) for k, n in codes for shard in shards]}
    _run("codec", jobs, rounds, quick=quick, as_json=as_json)


@bench.command()
@_ec
@click.option(
    "--piece", "pieces", multiple=True, metavar="SIZE", callback=_sizes, help="Bytes of a piece (default 4MiB)."
)
@_rounds
@_quick
@json_option
def segment(
    codes: tuple[tuple[int, int], ...], pieces: tuple[int, ...], rounds: int | None, quick: bool, as_json: bool
) -> None:
    """Time the preparation of a segment, whole and by stages.

    That is what a put does before it sends anything. Without options: 10/24 with pieces of 4 MiB.
    """
    from hippy.bench.segment import CODE, PIECE_BYTES, QUICK_PIECE_BYTES, measure_segment
    from hippy.bench.shape import Shape

    codes = codes or (CODE,)
    pieces = pieces or ((QUICK_PIECE_BYTES,) if quick else (PIECE_BYTES,))

    def job(shape: Shape) -> Job:
        return lambda choice, pace, telling: measure_segment(
            shape, choice, pace, timer=time.perf_counter, telling=telling
        )

    jobs = {shape.title: job(shape) for shape in [Shape(k, n, piece) for k, n in codes for piece in pieces]}
    _run("segment", jobs, rounds, quick=quick, as_json=as_json)


@bench.command()
@_rounds
@_quick
@json_option
def proofs(rounds: int | None, quick: bool, as_json: bool) -> None:
    """Time trees, proofs and their verification over a piece of 4 MiB."""
    from hippy.bench.proofs import measure_proofs

    def job(_choice: EngineChoice, pace: Pace, telling: RoundTeller) -> Group:
        return measure_proofs(pace, timer=time.perf_counter, telling=telling)

    _run("proofs", {"proofs": job}, rounds, quick=quick, as_json=as_json)


@bench.command()
@_rounds
@_quick
@json_option
def rejects(rounds: int | None, quick: bool, as_json: bool) -> None:
    """Time how a server turns bad requests away.

    On kept connections and on new ones, beside a 404 by aiohttp alone; round trips over loopback.
    """
    from hippy.bench.rejects import measure_rejects

    def job(_choice: EngineChoice, pace: Pace, telling: RoundTeller) -> Group:
        return measure_rejects(pace, timer=time.perf_counter, telling=telling)

    _run("rejects", {"rejects": job}, rounds, quick=quick, as_json=as_json)


def _run(name: str, jobs: dict[str, Job], rounds: int | None, *, quick: bool, as_json: bool) -> None:
    """Measure every group and print the report."""
    from hippy.bench.machine import describe_machine
    from hippy.bench.report import Report
    from hippy.erasure.engines import chosen_engine

    choice, pace = chosen_engine(), _pace(name, rounds, quick=quick)
    machine = describe_machine(choice)  # first, for the load average is the one without us
    groups = tuple(
        job(choice, pace, _teller(title, number, len(jobs), as_json=as_json))
        for number, (title, job) in enumerate(jobs.items(), 1)
    )
    report = Report(name, machine, groups)
    if as_json:
        print_json(report.to_dict())
        return
    from hippy.cli.bench_table import draw

    draw(report)


def _pace(name: str, rounds: int | None, *, quick: bool) -> Pace:
    from hippy.bench.measure import ROUNDS, SAMPLE_SECONDS_MIN, Pace

    usual_rounds, usual_seconds = ROUNDS, SAMPLE_SECONDS_MIN
    if name == "rejects":
        usual_rounds, usual_seconds = REJECTS_ROUNDS, REJECTS_SAMPLE_SECONDS
    return Pace(
        rounds=rounds or (QUICK_ROUNDS if quick else usual_rounds),
        sample_seconds_min=min(QUICK_SAMPLE_SECONDS, usual_seconds) if quick else usual_seconds,
        seconds_max=None if rounds else SECONDS_MAX[name],
    )


def _teller(title: str, number: int, count: int, *, as_json: bool) -> RoundTeller:
    """Return what tells on standard error where a run is: every round on a terminal, else every group."""
    on_terminal = sys.stderr.isatty() and not as_json

    def tell(round_number: int, rounds: int) -> None:
        if as_json and round_number == 1:
            click.echo(json.dumps({"group": title, "number": number, "of": count, "rounds": rounds}), err=True)
        elif on_terminal:
            line = f"{number} of {count}: {title}, round {round_number} of {rounds}"
            ended = round_number == rounds and number == count
            click.echo(f"\r\x1b[K{line}" if not ended else "\r\x1b[K", nl=False, err=True)
        elif round_number == 1:
            click.echo(f"{number} of {count}: {title}, {rounds} rounds", err=True)

    return tell
