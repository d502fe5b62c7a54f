"""What a server says is told in our words: whose fault it is, and what to do."""

from __future__ import annotations

import pytest

from hippy.errors import ConfigError, HippyError, NoSpaceError, TemporaryError
from hippy.postgres.errors import explained, misunderstood


class ServerError(Exception):
    """An error of the driver with a server's code."""

    def __init__(self, code: str) -> None:
        super().__init__("the server's own words")
        self.sqlstate = code


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ServerError("53100"), NoSpaceError, "disk is full"),
        (ServerError("53200"), TemporaryError, "short of something"),
        (ServerError("53300"), TemporaryError, "no connection left"),
        (ServerError("55P03"), TemporaryError, "other processes of this registry"),
        (ServerError("57014"), TemporaryError, "took too long"),
        (ServerError("57P01"), TemporaryError, "away"),
        (ServerError("57P03"), TemporaryError, "away"),
        (ServerError("08006"), TemporaryError, "away"),
        (ServerError("25006"), TemporaryError, "takes no writes"),
        (ServerError("25P03"), TemporaryError, "away"),
        (ServerError("40001"), TemporaryError, "put us off"),
        (ServerError("40P01"), TemporaryError, "put us off"),
        (ServerError("28P01"), ConfigError, "does not let us in"),
        (ServerError("28000"), ConfigError, "does not let us in"),
        (ServerError("3D000"), ConfigError, "no such database"),
        (ServerError("42501"), ConfigError, "may not do"),
        (ServerError("42P01"), ConfigError, "not as they should be"),
        (ServerError("42704"), ConfigError, "too old"),
        (TimeoutError(), TemporaryError, "does not answer"),
        (ConnectionRefusedError(), TemporaryError, "away"),
        (OSError(), TemporaryError, "away"),
    ],
)
def test_error_says_whose_fault_it_is(error: Exception, kind: type[HippyError], words: str) -> None:
    told = explained(error, is_starting=True)
    assert type(told) is kind
    assert words in told.message
    assert told.hint
    assert "own words" not in f"{told.message} {told.hint}"


@pytest.mark.parametrize("code", ["28P01", "3D000", "42501", "42P01", "42704"])
def test_what_an_operator_must_put_right_is_waited_for_once_a_node_runs(code: str) -> None:
    assert type(explained(ServerError(code), is_starting=False)) is TemporaryError
    assert type(misunderstood(is_starting=False)) is TemporaryError
    assert type(misunderstood(is_starting=True)) is ConfigError
