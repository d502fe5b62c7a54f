"""What ``hippy doctor`` finds: checks, and those that every installation is given.

Each check looks at one thing and says what it found and what to do about it. ``failed`` means that something asked
of hippy here will not work or is not safe, ``warning`` that it is, but slow, or not set up yet. No check changes
anything, and none prints a secret.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hippy.erasure.engines import EngineChoice
    from hippy.errors import HippyError

PYTHON_MIN: Final = (3, 11)
"""As pyproject.toml requires."""

OPEN_FILES_MIN: Final = 1_024
"""A client opens up to 256 connections (hippy.transport.limits)."""

NODE_OPEN_FILES_MIN: Final = 4_096
"""A node takes connections_max of them (hippy.transport.limits), opens 256 itself, and has its database's files."""

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


def check_open_files(limit: int | None, *, least: int = OPEN_FILES_MIN) -> Check:
    """Check how many files and connections may be open at once; None is no limit."""
    if limit is None:
        return Check("open files", Status.OK, "no limit")
    if limit < least:
        hint = f"ulimit -n {max(least, 4096)} in the shell that starts hippy, LimitNOFILE= in a systemd unit"
        return Check("open files", Status.WARNING, f"at most {limit:,} in this shell", hint)
    return Check("open files", Status.OK, f"at most {limit:,}")


def open_files_limit() -> int | None:
    """Return how many files this process may have open; None is no limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def failed(name: str, error: HippyError, hint: str = "") -> Check:
    """Return what an error comes to; ``hint`` is for one that brings none."""
    return Check(name, Status.FAILED, error.message, error.hint or hint or None)


def existing(path: Path) -> Path:
    """Return the nearest of a path and the directories above it that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def is_writable(directory: Path) -> bool:
    """Return whether we could write in a directory, or make it where it is not."""
    return os.access(existing(directory), os.W_OK | os.X_OK)
