"""``hippy doctor``: does this installation work, and what would make it work better.

Each check looks at one thing and says what it found and what to do about it. ``failed`` means that something asked
of hippy here will not work or is not safe, ``warning`` that it is, but slow, or not set up yet. No check changes
anything, none needs an account, and none prints a secret.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import click

from hippy.cli.printing import json_option, print_json, shown

if TYPE_CHECKING:
    from pathlib import Path

    from hippy.client.home import Credentials
    from hippy.erasure.engines import EngineChoice
    from hippy.wire.node import Hello

PYTHON_MIN: Final = (3, 11)
"""As pyproject.toml requires."""

OPEN_FILES_MIN: Final = 1_024
"""A client opens up to 256 connections (hippy.transport.limits), a node as many and its database's files."""

OTHERS_BITS: Final = 0o077
"""Permissions of anybody but the owner."""


class Status(StrEnum):
    """What a check comes to."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found there, and what to do where that is not good."""

    name: str
    status: Status
    found: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON has it."""
        return {"name": self.name, "status": self.status.value, "found": self.found, "hint": self.hint}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check this installation and say what to do.

    Looks at Python, the erasure engine, the limit of open files, the account in use and its validator. Exits with 1
    when a check failed; warnings are no failures.
    """
    failed = False
    checks = []
    for check in _checks():
        failed = failed or check.status is Status.FAILED
        checks.append(check.to_dict())
        if not as_json:
            _say(check)
    if as_json:
        print_json({"ok": not failed, "checks": checks})
    return 1 if failed else 0


def _say(check: Check) -> None:
    click.echo(f"{check.status.value:<9}{check.name:<12}{shown(check.found)}")
    if check.hint is not None:
        click.echo(f"{'':<9}{'':<12}hint: {shown(check.hint)}")


def _checks() -> Iterator[Check]:
    """Yield every check that can be made; without an account there is no validator to ask."""
    from hippy.erasure.engines import chosen_engine

    yield check_python(sys.version_info[:3])
    yield check_engine(chosen_engine(), platform.system())
    yield check_open_files(_open_files_limit())
    account, credentials = check_account()
    yield account
    if credentials is not None:
        yield check_validator(credentials)


def check_python(version: tuple[int, int, int]) -> Check:
    """Check the interpreter's version."""
    found = f"{platform.python_implementation()} {'.'.join(map(str, version))}"
    if version < PYTHON_MIN:
        least = ".".join(map(str, PYTHON_MIN))
        return Check("python", Status.FAILED, found, f"install hippy under Python {least} or newer")
    return Check("python", Status.OK, found)


def check_engine(choice: EngineChoice, system: str) -> Check:
    """Check that erasure coding has a fast engine."""
    if choice.reason is None:
        return Check("engine", Status.OK, f"{choice.name} from {choice.library}, which proved to write zfec's bytes")
    if system == "Linux":
        hint = "pip install pyeclib, or your distribution's libisal2 (Fedora: libisa-l)"
    else:
        hint = "everything works; on Linux with ISA-L coding is many times as fast"
    return Check("engine", Status.WARNING, f"{choice.name}, the slow one, because {choice.reason}", hint)


def check_open_files(limit: int | None) -> Check:
    """Check how many files and connections may be open at once; None is no limit."""
    if limit is None:
        return Check("open files", Status.OK, "no limit")
    if limit < OPEN_FILES_MIN:
        return Check(
            "open files", Status.WARNING, f"at most {limit:,}", "ulimit -n 4096 in the shell that starts hippy"
        )
    return Check("open files", Status.OK, f"at most {limit:,}")


def _open_files_limit() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def check_account() -> tuple[Check, Credentials | None]:
    """Check the credentials in use and who else can read them; return them too, if they can be used."""
    from hippy.client.home import find_credentials
    from hippy.errors import ConfigError

    try:
        path = _credentials_path()
        if path is None:
            hint = "hippy login for an account, or hippy net up -d for a local network with one"
            return Check("account", Status.WARNING, "none is set up here", hint), None
        credentials = find_credentials()
        mode = path.stat().st_mode
    except ConfigError as error:
        return Check("account", Status.FAILED, error.message, error.hint), None
    except OSError as error:
        hint = "is the directory yours? hippy writes it with mode 0700"
        return Check("account", Status.FAILED, f"cannot look at {error.filename}: {error.strerror}", hint), None
    found = f"{credentials.account_ss58}, from {path}"
    if os.name == "posix" and mode & OTHERS_BITS:
        readable = f"{found}, which has mode {mode & 0o777:04o}: others may have its secret"
        return Check("account", Status.FAILED, readable, f"chmod 600 {path}"), credentials
    return Check("account", Status.OK, found), credentials


def _credentials_path() -> Path | None:
    """Return the file that find_credentials would read; None when there is neither login nor local network."""
    from hippy.client.home import find_home, find_local_network, network_credentials

    login = find_home().credentials
    if login.exists() and not os.environ.get("HIPPY_NET"):
        return login
    directory = find_local_network()
    return None if directory is None else network_credentials(directory)


def check_validator(credentials: Credentials) -> Check:
    """Check that the account's validator answers the handshake, within five seconds."""
    from hippy.cli.running import run
    from hippy.errors import HippyError, TemporaryError

    try:
        hello, seconds = run(_meet(credentials))
    except TemporaryError as error:
        if credentials.local:
            return Check("validator", Status.WARNING, error.message, "hippy net status, or hippy net up -d to start it")
        hint = error.hint or "is this machine online? if so, the validator is away: try again later"
        return Check("validator", Status.FAILED, error.message, hint)
    except HippyError as error:
        return Check("validator", Status.FAILED, error.message, error.hint or "ask whoever runs the validator")
    where = f"{hello.software} at {credentials.validator_endpoint}"
    return Check("validator", Status.OK, f"{where} answered in {seconds * 1e3:.0f} ms")


async def _meet(credentials: Credentials) -> tuple[Hello, float]:
    """Return the validator's hello and how many seconds it took."""
    from hippy.clock import SystemClock
    from hippy.transport.client import Peer, open_http
    from hippy.transport.hello import shake_hands

    clock = SystemClock()
    peer = Peer(credentials.validator_endpoint, credentials.validator_hotkey)
    async with open_http(None, clock) as http:
        started = time.monotonic()
        hello = await shake_hands(http, peer, "validator", credentials.network, local=credentials.local, clock=clock)
        return hello, time.monotonic() - started
