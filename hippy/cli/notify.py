"""Telling systemd how a daemon is: ready, stopping, still turning (sd_notify(3)).

Written here, since it is one datagram: the library of that name has had no release since 2017, and systemd's own
binding needs its C headers to build. Without ``NOTIFY_SOCKET`` nothing happens, so a daemon is the same everywhere.

Example::

    notify("READY=1")
    watchdog_seconds()      # None: nobody watches
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
SEND_SECONDS: Final = 1.0
"""A manager that takes nothing must not stop the daemon."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send ``state`` (lines of ``NAME=value``) to whoever started us; return whether it was taken.

    An address that begins with ``@`` is in Linux's abstract namespace. A manager that is gone is no error.
    """
    address = environment.get(SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(SEND_SECONDS)
        sender.sendto(state.encode(), address)
        return True
    return False


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return how often the watchdog wants to hear of us at least; None when there is none, or it is not for us.

    Twice as often is right (sd_watchdog_enabled(3)).
    """
    told, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not told.isdecimal() or int(told) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(told) / 1e6
