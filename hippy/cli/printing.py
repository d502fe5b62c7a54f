"""How commands talk: results on standard output, words on standard error, JSON where it is asked for.

What others named (files, objects, a peer's message) reaches a terminal through :func:`shown` only; JSON keeps it
exactly. How far a long command is, is hippy.cli.progress's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from unicodedata import category

import click

from hippy.errors import HippyError, TemporaryError

if TYPE_CHECKING:
    from hippy.client.results import Failure

GROUP_PATHS_MAX: Final = 5
"""Paths that are named where many fail for one reason."""

NEXT_STEPS: Final = {
    "internal": "run again with HIPPY_DEBUG=1 for more",
    "usage": "see --help of the command",
    "config": "hippy doctor checks this installation",
    "not_found": "hippy ls shows what there is",
    "auth": "hippy whoami shows the account in use, hippy login restores another one",
    "quota": "hippy whoami shows quota and use: delete something, or ask the validator's operator for more",
    "conflict": "look at what is there now, then try again",
    "not_home": "use the credentials of the validator that is the account's home; others answer reads",
    "integrity": "try again; if it stays so, hippy check shows what is wrong with the pieces",
    "temporary": "try again later",
    "timeout": "try again later",
    "unreachable": "try again later; hippy doctor checks this machine's side",
    "rate_limited": "try again in a minute",
    "no_space": "try again later; the node's disk is full",
    "protocol": "both sides may run different versions: hippy --version",
    "too_large": "see the limits in docs/PROTOCOL.md, section 9",
}
"""What to do next after an error of each code that does not say so itself."""

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that steer a terminal or cannot be encoded."""

_BIDIRECTIONAL: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What makes a name read as another one."""


@dataclass(slots=True)
class Invocation:
    """What of a command line its errors must know; the object of click's outermost context."""

    as_json: bool = False


def _note_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    ctx.find_root().ensure_object(Invocation).as_json = value
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # before the other parameters, whose mistakes are told as JSON too
    callback=_note_json,
    help="Print results as JSON.",
)


def human_bytes(count: float) -> str:
    """Return ``97.1 MiB``; whole bytes below one KiB."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def rate(count: int, seconds: float) -> str:
    """Return ``11.8 MB/s`` (10^6 bytes, as networks are measured)."""
    return f"{count / max(seconds, 1e-9) / 1e6:.1f} MB/s"


def counted(count: int, noun: str) -> str:
    """Return ``1 file`` or ``2,450 files``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def shown(text: str) -> str:
    r"""Return a name as a terminal may have it: control characters and bytes that are no UTF-8 become ``\xNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if category(c) in _UNPRINTABLE or c in _BIDIRECTIONAL else c for c in text)


def _escaped(character: str) -> str:
    try:
        encoded = character.encode("utf-8", "surrogateescape")  # back to the byte the system gave us
    except UnicodeEncodeError:
        encoded = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def next_step(error: HippyError) -> str | None:
    """Return what a person can do about an error: its own hint, else that of its code."""
    return error.hint or NEXT_STEPS.get(error.code)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own; in ASCII, so that any name can be printed exactly."""
    click.echo(json.dumps(value))


def report_failures(failures: tuple[Failure, ...], *, as_json: bool) -> list[dict[str, str | None]]:
    """Say on stderr what was left out and why, each reason once; return it item by item for a JSON result."""
    if not as_json:
        groups: dict[tuple[str, str | None], list[str]] = {}
        for failure in failures:
            groups.setdefault((str(failure.error), next_step(failure.error)), []).append(failure.path)
        for (message, hint), paths in groups.items():
            _report_group(message, hint, paths)
    return [
        {"path": f.path, "code": f.error.code, "message": str(f.error), "hint": next_step(f.error)} for f in failures
    ]


def report_symlinks(symlinks: Sequence[str]) -> None:
    """Name on stderr the symbolic links that were left out."""
    for link in symlinks:
        click.echo(f"not followed: symbolic link {shown(link)}", err=True)


def _report_group(message: str, hint: str | None, paths: list[str]) -> None:
    if len(paths) == 1:
        click.echo(f"error: {shown(paths[0])}: {shown(message)}", err=True)
    else:
        click.echo(f"error: {len(paths):,} times: {shown(message)}", err=True)
        for path in paths[:GROUP_PATHS_MAX]:
            click.echo(f"  {shown(path)}", err=True)
        if len(paths) > GROUP_PATHS_MAX:
            click.echo(f"  and {len(paths) - GROUP_PATHS_MAX:,} more", err=True)
    if hint:
        click.echo(f"hint: {shown(hint)}", err=True)


def failures_exit_code(failures: tuple[Failure, ...]) -> int:
    """Return 0 for no failure, 5 when the same command may succeed later, else 1 for a partial success."""
    if not failures:
        return 0
    return TemporaryError.exit_code if all(failure.error.retryable for failure in failures) else 1
