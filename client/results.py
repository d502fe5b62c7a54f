"""What the calls of a client return: frozen values with counts, bytes, seconds and what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hippy.errors import HippyError


@dataclass(frozen=True, slots=True)
class Failure:
    """One file that was left out, and why; the others went on.

    ``path`` is relative to the directory that was put, else the path in the bucket. It can always be printed.
    """

    path: str
    error: HippyError


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a put stored. ``bytes`` are those of the files, ``stored_bytes`` those of all pieces.

    ``missing_pieces`` found no miner: their segments are safe, but with fewer losses to spare than their code has.
    """

    files: int
    bytes: int
    stored_bytes: int
    segments: int
    seconds: float
    missing_pieces: int = 0
    failures: tuple[Failure, ...] = ()
    symlinks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GetResult:
    """What a get brought back, whole and checked."""

    files: int
    bytes: int
    segments: int
    seconds: float
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """How many objects are gone from the listing."""

    files: int
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing: an object, or a directory (then without the other fields).

    ``path`` is the whole path in the bucket, without a slash at either end.
    """

    path: str
    is_dir: bool
    size: int = 0
    mode: int = 0
    mtime_us: int = 0
    hash: bytes = b""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """An object and where it is to be copied or moved, both as URIs; ``size`` in bytes."""

    source: str
    target: str
    size: int


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy or move has done: objects and their bytes, of which none went over the network."""

    files: int
    bytes: int
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a directory holds, everything below it included; ``path`` is its path in the bucket, "" for all of it.

    ``stored_bytes`` are those of all n pieces of the segments that its objects lie in, each counted once: files may
    share a segment, and so may copies. None where that was not asked for.
    """

    path: str
    objects: int
    bytes: int
    stored_bytes: int | None = None


Verdict = Literal["full", "repairable", "at_risk", "lost"]
"""full: every piece answers. repairable: some do not, more than the repair threshold do. at_risk: no more than that do.
lost: fewer than k do, so that it cannot be read now."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the miners of one object answered when each was asked for one random leaf with its proof.

    Pieces are those of all its segments: ``ok`` proved, ``missing`` gave none or were held by nobody, ``bad`` proved
    wrong. ``verdict`` is that of its worst segment. An object that lies in its manifest has no pieces and is full.
    """

    uri: str
    verdict: Verdict
    ok: int = 0
    missing: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The health of every object that was looked at; ``failures`` are those whose row or manifest cannot be read."""

    objects: tuple[Health, ...]
    segments: int
    seconds: float
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are, and what our home validator says of us."""

    account: str
    pay_class: str
    quota_bytes: int
    used_bytes: int
    validator: str
    network: str
