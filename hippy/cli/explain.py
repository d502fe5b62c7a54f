"""``hippy miner explain``: why a miner weighs what it weighs, as a validator tells anyone (PROTOCOL §5.6).

Owns the page; the sentences on it are the validator's. They are printed as text, whoever wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from hippy.cli.printing import human_bytes, json_option, print_json, shown

if TYPE_CHECKING:
    from pathlib import Path

    from hippy.endpoint import Endpoint
    from hippy.ids import PublicKey
    from hippy.wire.score import AccountBytes, AuditFailure, Factor, MinerReport, PastScore

HISTORY_SHOWN: Final = 12
FAILURES_SHOWN: Final = 5
ACCOUNTS_SHOWN: Final = 10
_WHICH: Final = "name a miner of the local network in use (hippy miner explain miner3), or its hotkey (5F...)"
_COLUMNS: Final = ("epoch", "bytes", "leaves", "proofs", "uptime", "reads", "speed", "age", "weight")


@dataclass(frozen=True, slots=True)
class _Question:
    """Which miner, and whom to ask; ``validator`` None: whoever proves to be there."""

    miner: PublicKey
    endpoint: Endpoint
    validator: PublicKey | None


@click.command("explain")
@click.argument("miner", required=False, metavar="[MINER]")
@click.option("--validator", "url", metavar="URL", help="Whom to ask (default: the validator of the account in use).")
@json_option
def explain(miner: str | None, url: str | None, as_json: bool) -> None:
    """Show why a miner weighs what it weighs, and what to do about it.

    MINER is a node of the local network in use (miner3), or a hotkey as an SS58 address. URL is where a validator
    listens, http://1.2.3.4:8080 or 1.2.3.4:8080. Every validator has its own scores.
    """
    from hippy.cli.running import run

    report = run(_fetch(_question(miner, url)))
    if as_json:
        print_json(json.loads(report.encode()))
        return
    for line in _page(report):
        click.echo(shown(line))


def _question(miner: str | None, url: str | None) -> _Question:
    """Return what is asked of whom.

    Raises UsageError for a miner or URL that is none, ConfigError when nothing says which validator to ask.
    """
    from hippy.client.home import find_credentials, load_credentials, network_credentials
    from hippy.errors import UsageError
    from hippy.identity import SS58_CHARACTERS

    if miner is None:
        raise UsageError("which miner?", hint=_WHICH)
    if len(miner) == SS58_CHARACTERS:
        hotkey, directory = _address(miner), None
    else:
        hotkey, directory = _local_miner(miner)
    if url is not None:
        return _Question(hotkey, _endpoint(url), None)
    credentials = load_credentials(network_credentials(directory)) if directory is not None else find_credentials()
    return _Question(hotkey, credentials.validator_endpoint, credentials.validator_hotkey)


def _address(text: str) -> PublicKey:
    from hippy.errors import ProtocolError, UsageError
    from hippy.identity import ss58_decode

    try:
        return ss58_decode(text)
    except ProtocolError as error:
        raise UsageError(f"not a hotkey: {error.message}", hint=_WHICH) from None


def _local_miner(name: str) -> tuple[PublicKey, Path]:
    """Return the hotkey of a node of the local network in use, and that network's directory."""
    from hippy.client.home import find_local_network
    from hippy.errors import UsageError
    from hippy.identity import load_keyfile
    from hippy.net.plan import load_plan

    directory = find_local_network()
    plan = load_plan(directory) if directory is not None else None
    if directory is None or plan is None:
        raise UsageError(
            f"{name!r} is no hotkey, and no local network is in use that could have such a node", hint=_WHICH
        )
    node = plan.node(name)
    if node.role != "miner":
        raise UsageError(f"{name} is a {node.role}", hint=_WHICH)
    return load_keyfile(plan.hotkey_file(node)).public_key, directory


def _endpoint(url: str) -> Endpoint:
    from hippy.endpoint import Endpoint
    from hippy.errors import ProtocolError, UsageError

    try:
        return Endpoint.parse(url.removeprefix("http://").removesuffix("/"))
    except ProtocolError as error:
        raise UsageError(
            f"--validator: {error.message}", hint="it has a numeric address: http://127.0.1.1:4000"
        ) from None


async def _fetch(question: _Question) -> MinerReport:
    """Ask the validator.

    Raises AuthError when somebody else answers, ProtocolError for a report on another miner or in another's name,
    TemporaryError when nobody answers.
    """
    from hippy.clock import SystemClock
    from hippy.errors import AuthError, ProtocolError, TemporaryError, UnreachableError
    from hippy.identity import ss58_encode
    from hippy.transport.client import Call, Peer, open_http
    from hippy.transport.hello import meet
    from hippy.wire.score import REPORT_BYTES_MAX, MinerReport

    clock = SystemClock()
    async with open_http(None, clock) as http:
        try:
            hello = await meet(http, question.endpoint, "validator", clock=clock)
        except TemporaryError:  # its message names the peer by a key, and we may know none
            raise UnreachableError(
                f"no validator answers at {question.endpoint}", hint="is it up? hippy net status, for a local network"
            ) from None
        if question.validator is not None and hello.hotkey != question.validator:
            raise AuthError(
                f"the validator at {question.endpoint} is {ss58_encode(hello.hotkey)}, "
                f"not {ss58_encode(question.validator)}"
            )
        call = Call("GET", f"/v1/miners/{question.miner.hex()}", answer_bytes_max=REPORT_BYTES_MAX)
        report = await http.message(Peer(question.endpoint, hello.hotkey), call, MinerReport)
    if report.hotkey != question.miner or report.validator != hello.hotkey:
        raise ProtocolError("the validator answered with a report that is not its own on this miner")
    return report


def _page(report: MinerReport) -> Iterator[str]:
    """Yield the lines of the page."""
    from hippy.identity import ss58_encode

    yield f"miner      {ss58_encode(report.hotkey)} ({report.state})"
    yield f"validator  {ss58_encode(report.validator)}"
    if report.drain_time is not None:
        yield f"drains     since {_when(report.drain_time)}: it gets no new pieces, and others take over those it holds"
    if report.score is None:
        yield "score      none yet: no epoch with this miner in it has ended"
    else:
        yield f"share      {_percent(report.share_ppm)} of all weights, by epoch {report.epoch:,}"
    if report.owed_batches:
        yield f"owed       an answer to {_batches(report.owed_batches)}"
    yield from _factor_lines(report.factors)
    yield from _history_lines(report.history[:HISTORY_SHOWN])
    yield from _failure_lines(report.failures)
    yield from _account_lines(report.accounts)


def _factor_lines(factors: Sequence[Factor]) -> Iterator[str]:
    for factor in factors:
        value = "" if factor.value_ppm is None else _percent(factor.value_ppm)
        if factor.name == "bytes":
            yield ""
        yield f"{factor.name:<8}{value:>9}  {factor.rests_on}"
        if factor.todo is not None:
            yield f"{'':>17}  to do: {factor.todo}"


def _history_lines(history: Sequence[PastScore]) -> Iterator[str]:
    if not history:
        return
    yield ""
    rows = [_COLUMNS, *(_history_row(past) for past in history)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _history_row(past: PastScore) -> tuple[str, ...]:
    return (
        f"{past.epoch:,}",
        human_bytes(past.bytes),
        f"{past.leaves_ok:,}/{past.leaves_ok + past.leaves_bad:,}",
        *map(_percent, (past.proof_ppm, past.uptime_ppm, past.reads_ppm, past.speed_ppm, past.age_ppm)),
        f"{past.weight:,}",
    )


def _failure_lines(failures: Sequence[AuditFailure]) -> Iterator[str]:
    if not failures:
        return
    yield ""
    yield f"latest of {_batches(len(failures))} that failed:"
    for failure in failures[:FAILURES_SHOWN]:
        what = "never answered" if failure.kind == "unanswered" else f"{failure.bad:,} of its leaves not shown"
        yield f"  epoch {failure.epoch:,}, batch {failure.batch}, {_when(failure.time)}: {what}"
        for root in failure.roots:
            yield f"    piece {root.hex()}"


def _account_lines(accounts: Sequence[AccountBytes]) -> Iterator[str]:
    from hippy.identity import ss58_encode

    if not accounts:
        return
    yield ""
    yield "bytes held by account:"
    for held in accounts[:ACCOUNTS_SHOWN]:
        yield f"  {ss58_encode(held.account)}  {human_bytes(held.bytes):>10}"
    if len(accounts) > ACCOUNTS_SHOWN:
        yield f"  and {len(accounts) - ACCOUNTS_SHOWN} more"


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count:,} batches"


def _percent(ppm: int) -> str:
    """Return ``97.11 %``, rounded down so that 100 % is never said of less."""
    return f"{ppm // 10_000}.{ppm // 100 % 100:02} %"


def _when(seconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # a stranger's number may lie beyond the calendar
        return f"time {seconds}"
