"""Opening a client for one command: credentials, profile, progress, and the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from hippy.client.sdk import AsyncClient

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
    from hippy.cli.output import showing_progress
    from hippy.cli.running import run
    from hippy.client.sdk import AsyncClient

    async def opened() -> T:
        with showing_progress(as_json=as_json, quiet=quiet) as progress:
            async with AsyncClient.open(profile=profile, progress=progress) as client:
                return await work(client)

    return run(opened())
