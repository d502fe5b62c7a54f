"""What the calls of a client return: frozen values with counts, bytes, seconds and what failed."""

from __future__ import annotations

from dataclasses import dataclass

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
class Account:
    """Who we are, and what our home validator says of us."""

    account: str
    pay_class: str
    quota_bytes: int
    used_bytes: int
    validator: str
    network: str
