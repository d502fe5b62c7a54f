"""What long calls tell while they run: the seam between the transfer code and whoever draws a bar."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far a transfer is. Calls come from the event loop, never from a thread."""

    def stage(self, name: str) -> None:
        """A new part of the work begins: ``reading``, ``uploading``, ``downloading`` …"""

    def total(self, total_bytes: int | None) -> None:
        """So many bytes of files are to be moved; None: nobody knows."""

    def advance(self, moved_bytes: int) -> None:
        """So many more bytes of files are safe where they belong."""

    def note(self, text: str) -> None:
        """Something worth a line happened, such as a miner that was replaced."""


class SilentProgress:
    """A Progress that nobody looks at."""

    def stage(self, name: str) -> None:
        """Take note of nothing."""

    def total(self, total_bytes: int | None) -> None:
        """Take note of nothing."""

    def advance(self, moved_bytes: int) -> None:
        """Take note of nothing."""

    def note(self, text: str) -> None:
        """Take note of nothing."""
