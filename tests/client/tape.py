"""A validator that goes back to what it answered before."""

from __future__ import annotations


class Tape:
    """Serves the answer of a route that it recorded first, once told to."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.recorded: bytes | None = None
        self.plays = False

    def __call__(self, path: str, body: bytes) -> bytes:
        if path != self.target:
            return body
        self.recorded = self.recorded or body
        return self.recorded if self.plays else body
