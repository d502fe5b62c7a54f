"""``hippy doctor``: does this installation work, does this node, and what would make it work better.

What is looked at stands in hippy.cli.checks (every installation), hippy.cli.doctor_client (users) and
hippy.cli.doctor_node (nodes, by their settings files).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from hippy.cli.checks import NODE_OPEN_FILES_MIN, Check, Status, check_engine, check_open_files, check_python
from hippy.cli.checks import open_files_limit as _open_files_limit
from hippy.cli.printing import json_option, print_json, shown

_file = click.Path(path_type=Path)


@click.command()
@click.option("--miner", "miners", type=_file, multiple=True, metavar="FILE", help="Check a miner by its settings.")
@click.option(
    "--validator", "validators", type=_file, multiple=True, metavar="FILE", help="Check a validator by its settings."
)
@json_option
def doctor(miners: tuple[Path, ...], validators: tuple[Path, ...], as_json: bool) -> int:
    """Check this installation and say what to do.

    Looks at Python, the erasure engine and the limit of open files; then at the account in use, its validator, quota
    and miners, or, where settings files are named, at these nodes: settings, key, data directory, disk, ports, and
    whether a running one is ready. Exits with 1 when a check failed; warnings are no failures. Changes nothing.
    """
    has_failed = False
    checks = []
    for check in _checks(miners, validators):
        has_failed = has_failed or check.status is Status.FAILED
        checks.append(check.to_dict())
        if not as_json:
            _say(check)
    if as_json:
        print_json({"ok": not has_failed, "checks": checks})
    return 1 if has_failed else 0


def _say(check: Check) -> None:
    click.echo(f"{check.status.value:<9}{check.name:<12}{shown(check.found)}")
    if check.hint is not None:
        click.echo(f"{'':<9}{'':<12}hint: {shown(check.hint)}")


def _checks(miners: tuple[Path, ...], validators: tuple[Path, ...]) -> Iterator[Check]:
    from hippy.erasure.engines import chosen_engine

    yield check_python(sys.version_info[:3])
    yield check_engine(chosen_engine(), platform.system())
    if not miners and not validators:
        from hippy.cli.doctor_client import client_checks

        yield check_open_files(_open_files_limit())
        yield from client_checks()
        return
    from hippy.cli.doctor_node import miner_checks, validator_checks

    yield check_open_files(_open_files_limit(), least=NODE_OPEN_FILES_MIN)
    for file in miners:
        yield from miner_checks(file)
    for file in validators:
        yield from validator_checks(file)
