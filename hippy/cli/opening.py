"""Opening a client for one command: credentials, profile, progress, and the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from hippy.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from hippy.client.sdk import AsyncClient
    from hippy.client.uri import Uri

T = TypeVar("T")

profile_option = click.option(
    "--ec",
    "profile",
    default="auto",
    metavar="K/N",
    help="Erasure code: any K of N pieces restore the data; or standard, careful, compact, local.",
)


def with_client(
    work: Callable[[AsyncClient], Awaitable[T]], *, profile: str = "auto", as_json: bool = False, quiet: bool = True
) -> T:
    """Open a client, run ``work`` with it, and return the result."""
    from hippy.cli.progress import showing_progress
    from hippy.cli.running import run
    from hippy.client.sdk import AsyncClient

    async def opened() -> T:
        with showing_progress(as_json=as_json, quiet=quiet) as progress:
            async with AsyncClient.open(profile=profile, progress=progress) as client:
                return await work(client)

    try:
        return run(opened())
    except UnreachableError as error:
        error.hint = error.hint or _local_hint()
        raise


def refuse_directory(uri: Uri, *, hint: str) -> None:
    """Raises UsageError with the command that is meant when a URI names a directory."""
    if uri.slash:
        raise UsageError(f"{uri} names a directory", hint=hint)


def _local_hint() -> str | None:
    """Return what may help when nobody answers and the account in use belongs to a local network."""
    from hippy.client.home import find_credentials, find_local_network
    from hippy.net.supervisor import is_supervised

    if not find_credentials().local:
        return None
    directory = find_local_network()
    if directory is not None and is_supervised(directory):
        return "is a node down? hippy net status"
    return "is the local network down? hippy net up -d"
