"""Listing, showing and deleting, with the SDK at the seam."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hippy.cli import objects
from hippy.cli.commands import hippy
from hippy.client.results import DeleteResult, Entry, Failure
from hippy.errors import NotFoundError

Entries = list[Entry]
Names = list[str]
"""Named here, because inside the class ``list`` is the method."""


class StubClient:
    """An account with one bucket that holds nothing, and one object that can be deleted."""

    async def list(self, _uri: str, *, recursive: bool) -> Entries:
        return []

    async def buckets(self) -> Names:
        return ["empty"]

    async def head(self, _uri: str) -> Entry:
        return Entry("a\x1b[31m\n", is_dir=False, size=1)

    async def glob(self, _uri: str, *, directories: bool) -> None:
        return None

    async def delete_many(self, uris: Sequence[str], *, recursive: bool) -> DeleteResult:
        missing = [Failure(uri, NotFoundError("there is nothing there")) for uri in uris if uri.endswith("missing")]
        return DeleteResult(len(uris) - len(missing), tuple(missing))


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands work on the stub."""

    def with_stub(work: Callable[[Any], Awaitable[Any]]) -> object:
        coroutine: Any = work(StubClient())
        with pytest.raises(StopIteration) as ended:  # nothing in the stub waits
            coroutine.send(None)
        return ended.value.value

    monkeypatch.setattr(objects, "with_client", with_stub)


def run(*args: str) -> Result:
    return CliRunner().invoke(hippy, args, standalone_mode=False)


def test_a_bucket_nobody_made_is_not_found() -> None:
    assert isinstance(run("ls", "hippy://nobucket").exception, NotFoundError)


def test_an_empty_bucket_is_an_empty_listing() -> None:
    done = run("ls", "hippy://empty")
    assert (done.exception, done.output) == (None, "")


def test_names_cannot_steer_the_terminal() -> None:
    shown = run("stat", "hippy://b/x").output
    assert "\x1b" not in shown
    assert "path      a\\x1b[31m\\x0a\n" in shown


def test_names_are_exact_in_json() -> None:
    assert json.loads(run("stat", "hippy://b/x", "--json").output)["path"] == "a\x1b[31m\n"


def test_what_cannot_be_deleted_keeps_none_of_the_others() -> None:
    done = run("rm", "hippy://b/x", "hippy://b/missing", "hippy://b/y")
    assert done.return_value == 1
    assert done.stderr == (
        "error: hippy://b/missing: there is nothing there\nhint: hippy ls shows what there is\n2 deleted\n"
    )


def test_one_object_that_is_missing_is_not_found() -> None:
    assert isinstance(run("rm", "hippy://b/missing").exception, NotFoundError)
