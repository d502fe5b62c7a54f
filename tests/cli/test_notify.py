"""What the service manager is told, over real datagram sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hippy.cli.notify import notify, watchdog_seconds


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The variable's value, and the socket that it names."""
    if request.param == "path":
        told = address = str(tmp_path / "notify")
    elif sys.platform == "linux":
        told = f"@hippy-test-{os.getpid()}"
        address = "\0" + told[1:]
    else:
        pytest.skip("abstract addresses are Linux's")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(address)
        listener.settimeout(5)
        yield told, listener


def test_a_state_arrives_whole(manager: tuple[str, socket.socket]) -> None:
    told, listener = manager
    assert notify("READY=1\nSTATUS=listening", {"NOTIFY_SOCKET": told})
    assert listener.recv(4096) == b"READY=1\nSTATUS=listening"


@pytest.mark.parametrize("told", [None, "", "relative", "/nowhere/notify", "@hippy-nobody-listens"])
def test_without_a_manager_nothing_happens(told: str | None) -> None:
    assert not notify("READY=1", {} if told is None else {"NOTIFY_SOCKET": told})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_told_as_often_as_it_asks(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds
