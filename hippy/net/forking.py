"""How node processes are started: forked from one that has imported hippy already, multiprocessing's fork server.

To import what a node needs takes five times the CPU of everything else at its start, and most of its memory; forked
nodes share both. macOS, whose system libraries do not survive a fork, starts every node anew.

Imports next to nothing itself, so that a command can begin with :func:`prepare` and import its own part meanwhile.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Final

IMPORTED: Final = (
    "hippy.cli.node",
    "hippy.cli.running",
    "hippy.cli.logs",
    "hippy.miner.server",
    "hippy.validator.server",
    "pythonjsonlogger.json",
    "uvloop",
)
"""What nodes need. They are named, not imported: nothing may import the commands or both roles (docs/STYLE.md)."""

SOCKET_DIRECTORY_MAX: Final = 70
"""Bytes: the fork server's socket, 33 behind it, has a path of at most 107."""

SHORT_DIRECTORY: Final = "/tmp"  # noqa: S108 - the fork server makes a directory of its own in it, for us alone


def context() -> ForkServerContext | SpawnContext:
    """Return how this system starts a node's process."""
    if sys.platform == "darwin" or _directory() is None:
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(list(IMPORTED))
    return forking


def prepare() -> None:
    """Have the fork server begin to import, if it has not; the first process to be started waits for it.

    Ctrl-C, which a terminal sends to all of us, is the supervisor's to answer: neither the fork server nor a node hears
    it. It is blocked, not ignored, so that one that comes just now is not lost.
    """
    if not isinstance(context(), ForkServerContext):
        return
    resource_tracker.ensure_running()  # which would unblock it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _sockets_in(_directory()):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _directory() -> str | None:
    """Return where a fork server's socket may lie, None where every path is too long."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) <= SOCKET_DIRECTORY_MAX:
        return usual
    return SHORT_DIRECTORY if os.access(SHORT_DIRECTORY, os.W_OK | os.X_OK) else None


@contextmanager
def _sockets_in(directory: str | None) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, directory
    try:
        yield
    finally:
        tempfile.tempdir = before
