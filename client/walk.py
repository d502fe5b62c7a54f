"""Walking a directory: which files there are to store, and what is left out and why.

Symbolic links are not followed but named; what is no regular file, or cannot be looked at, is a failure of its own, and
the others go on. Empty directories leave no trace: the network keeps objects.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hippy.client.file_errors import file_error, shown
from hippy.client.patterns import Filter
from hippy.client.results import Failure
from hippy.client.sources import PERMISSION_BITS, FileSource, Source
from hippy.errors import HippyError, UsageError


@dataclass(frozen=True, slots=True)
class Found:
    """A file below a directory: its path relative to it, and its bytes."""

    components: tuple[str, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class Walk:
    """What a directory holds: files in the order of their paths, and what was left out and why."""

    files: tuple[Found, ...]
    symlinks: tuple[str, ...]
    failures: tuple[Failure, ...]


def walk_directory(root: Path, *, exclude: Collection[str] = (), include: Collection[str] = ()) -> Walk:
    """Return the files below ``root`` that are meant (hippy.client.patterns.Filter).

    Raises NotFoundError, AuthError or UsageError when ``root`` is no directory one can list.
    """
    chosen = Filter(include=tuple(include), exclude=tuple(exclude))
    files: list[Found] = []
    symlinks: list[str] = []
    failures: list[Failure] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        place = pending.pop()
        below: list[tuple[str, ...]] = []
        try:
            entries = _entries(root, place)
        except HippyError as error:
            if not place:
                raise
            failures.append(Failure(shown(place), error))
            continue
        for entry in entries:
            components = (*place, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if not chosen.skips_directory(components):
                    below.append(components)
            elif not chosen.keeps(components):
                continue
            elif entry.is_symlink():
                symlinks.append(shown(components))
            else:
                _add_file(entry, components, files, failures)
        pending += reversed(below)
    return Walk(tuple(files), tuple(symlinks), tuple(failures))


def _entries(root: Path, place: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    path = str(root.joinpath(*place))
    try:
        with os.scandir(path) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        raise file_error(path, error) from None


def _add_file(
    entry: os.DirEntry[str], components: tuple[str, ...], files: list[Found], failures: list[Failure]
) -> None:
    label = shown(components)
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        failures.append(Failure(label, file_error(entry.path, error)))
        return
    if not stat.S_ISREG(found.st_mode):
        failures.append(Failure(label, UsageError(f"{entry.path} is no regular file", hint="leave it out: --exclude")))
        return
    source = FileSource(entry.path, found.st_size, found.st_mode & PERMISSION_BITS, found.st_mtime_ns)
    files.append(Found(components, source))
