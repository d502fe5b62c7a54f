"""A disk in memory that loses power, fills up, slows down and rots when told: the verified twin of SystemDisk.

It keeps the contract of the seam (hippy.testing.disk_contract). A node that was given it sees no difference, until
:meth:`MemoryDisk.crash` returns the disk as the next start finds it:

* ``POWER``: bytes that were not synced are gone, cut short, full of zeros behind some point, or there. A name that
  was made, moved or removed without its directory being synced is as before or as after, each by itself, but a
  rename is always whole, and what follows from another change never survives without it.
* ``KILL``: the process ended, the machine did not. Everything is as it was, and what was not synced still is not.

Which of these, the disk's ``random.Random`` decides: one seed, one outcome. The old disk is dead afterwards, whoever
still calls it gets MachineDown, which no handler of errors takes for an error: its code simply goes no further.

``before`` is called ahead of every operation and may wait (a slow disk), raise OSError (errno.EIO, a failing disk),
or crash this one. :meth:`damage`, :meth:`make_unreadable`, :attr:`capacity_bytes` and :attr:`foreign_bytes` are the
other ways to be a bad disk.

>>> disk = MemoryDisk(random.Random(1))
>>> with disk.create(Path("/draft")) as file:
...     file.write(b"data")
...     file.sync()
>>> disk.sync_directory(Path("/"))
>>> disk.rename(Path("/draft"), Path("/name"))
>>> disk = disk.crash(Loss.POWER)
>>> disk.names(Path("/")) in (["draft"], ["name"])
True
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from hippy.errors import TemporaryError
from hippy.miner.disk import NewFile, OpenFile, check_length, check_size, reading, writing
from hippy.testing.crash import Loss, MachineDown

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BLOCK_BYTES", "CAPACITY_BYTES", "Loss", "MachineDown", "MemoryDisk", "Operation"]

BLOCK_BYTES: Final = 4_096
"""A file takes whole blocks, as on ext4 and XFS by default."""

CAPACITY_BYTES: Final = 2**40


@dataclass(frozen=True, slots=True)
class Operation:
    """What is about to be done: the method's name, where, and how many bytes it writes or reads."""

    kind: str
    path: Path
    size_bytes: int = 0


@dataclass(slots=True, eq=False)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unreadable: set[int] = field(default_factory=set)

    def blocks_bytes(self) -> int:
        return -(-len(self.data) // BLOCK_BYTES) * BLOCK_BYTES


@dataclass(slots=True, eq=False)
class _Directory:
    now: dict[str, _Node] = field(default_factory=dict)
    durable: dict[str, _Node] = field(default_factory=dict)


_Node = _File | _Directory
_Key = tuple[_Directory, str]


@dataclass(slots=True, eq=False)
class _Change:
    """Names set (or removed: None) at once, in whatever directories, and not durable yet."""

    names: list[tuple[_Directory, str, _Node | None]]

    def keys(self) -> set[tuple[int, str]]:
        return {(id(directory), name) for directory, name, _ in self.names}

    def touches(self, directory: _Directory) -> bool:
        return any(one is directory for one, _, _ in self.names)

    def keep(self) -> None:
        for directory, name, node in self.names:
            if node is None:
                directory.durable.pop(name, None)
            else:
                directory.durable[name] = node


class MemoryDisk:
    """A Disk in dictionaries; see the module's docstring. Paths are absolute; ``/`` is there. For several threads."""

    def __init__(
        self,
        chance: random.Random,
        *,
        capacity_bytes: int = CAPACITY_BYTES,
        before: Callable[[Operation], None] | None = None,
    ) -> None:
        self.capacity_bytes = capacity_bytes
        """What the filesystem holds; may be changed at any time, also to less than is used."""
        self.foreign_bytes = 0
        """What others keep on this filesystem, a database for instance."""
        self.before = before
        """Called ahead of every operation, outside of all locks."""
        self._chance = chance
        self._root = _Directory()
        self._pending: list[_Change] = []
        self._used_bytes = 0
        self._lock = threading.RLock()
        self._is_down = False

    def crash(self, loss: Loss) -> MemoryDisk:
        """End this disk and return what the next start finds, with the same capacity, strangers and hook."""
        with self._lock:
            self._is_down = True
            after = MemoryDisk(self._chance, capacity_bytes=self.capacity_bytes, before=self.before)
            after.foreign_bytes = self.foreign_bytes
            after._root, after._pending = self._root, self._pending
            if loss is Loss.POWER:
                self._lose_names()
                self._settle(self._root)
                after._pending = []
            after._used_bytes = sum(file.blocks_bytes() for _, file in _files(after._root, Path("/")))
            return after

    def files(self) -> dict[Path, bytes]:
        """Return every file and what a reader would find in it, past all hooks and damage."""
        with self._lock:
            return {path: bytes(file.data) for path, file in _files(self._root, Path("/"))}

    def damage(self, path: Path, at: int) -> None:
        """Flip a bit of the byte ``at`` of a file, on the medium as in the cache."""
        with self._lock:
            file = self._file(path)
            synced = bytearray(file.synced)
            file.data[at] ^= 1
            if at < len(synced):
                synced[at] ^= 1
            file.synced = bytes(synced)

    def make_unreadable(self, path: Path, at: int) -> None:
        """Have every read of the byte ``at`` of a file fail with EIO."""
        with self._lock:
            self._file(path).unreadable.add(at)

    @contextmanager
    def create(self, path: Path) -> Iterator[NewFile]:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("create", path):
            directory = self._directory(path.parent)
            if path.name in directory.now:
                _fail(errno.EEXIST)
            file = _File()
            self._change((directory, path.name, file))
        try:
            yield _NewFile(self, path, file)
        except BaseException:
            with suppress(TemporaryError, MachineDown):  # what failed first is what is told
                self.remove(path)
            raise

    @contextmanager
    def open(self, path: Path, *, size: int) -> Iterator[OpenFile]:
        """See hippy.miner.disk.Disk."""
        with reading(self, path), self._operation("open", path):
            file = self._file(path)
        check_size(path, len(file.data), size)
        yield _OpenFile(self, path, file)

    def rename(self, old: Path, new: Path) -> None:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("rename", old):
            file, source, target = self._file(old), self._directory(old.parent), self._directory(new.parent)
            replaced = target.now.get(new.name)
            if isinstance(replaced, _Directory):
                _fail(errno.EISDIR)
            if replaced is not file:
                self._change((source, old.name, None), (target, new.name, file))
                self._used_bytes -= replaced.blocks_bytes() if replaced else 0

    def remove(self, path: Path) -> None:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("remove", path):
            directory = self._find(path.parent)
            node = directory.now.get(path.name) if isinstance(directory, _Directory) else None
            if isinstance(node, _Directory):
                _fail(errno.EISDIR)
            if isinstance(directory, _Directory) and node is not None:
                self._change((directory, path.name, None))
                self._used_bytes -= node.blocks_bytes()

    def make_directory(self, path: Path) -> bool:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("make_directory", path):
            found = self._find(path)
            if isinstance(found, _File):
                _fail(errno.EEXIST)
            if found is None:
                self._change((self._directory(path.parent), path.name, _Directory()))
            return found is None

    def sync_directory(self, path: Path) -> None:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("sync_directory", path):
            directory = self._directory(path)
            kept, needed = list[_Change](), set[tuple[int, str]]()
            for change in reversed(self._pending):
                if change.touches(directory) or change.keys() & needed:
                    kept.append(change)
                    needed |= change.keys()
            for change in reversed(kept):
                change.keep()
            durable = set(kept)
            self._pending = [change for change in self._pending if change not in durable]

    def is_directory(self, path: Path) -> bool:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("is_directory", path):
            return isinstance(self._find(path), _Directory)

    def names(self, directory: Path) -> list[str]:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("names", directory):
            return list(self._directory(directory).now)

    def sizes(self, directory: Path) -> dict[str, int]:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("sizes", directory):
            nodes = self._directory(directory).now
            return {name: node.blocks_bytes() for name, node in nodes.items() if isinstance(node, _File)}

    def free_bytes(self, path: Path) -> int:
        """See hippy.miner.disk.Disk."""
        with writing(), self._operation("free_bytes", path):
            self._directory(path)
            return max(0, self._free_bytes())

    def _free_bytes(self) -> int:
        return self.capacity_bytes - self.foreign_bytes - self._used_bytes

    @contextmanager
    def _operation(self, kind: str, path: Path, size_bytes: int = 0) -> Iterator[None]:
        """Tell the hook, then do it alone, if the machine is still up."""
        if not self._is_down and self.before is not None:
            self.before(Operation(kind, path, size_bytes))
        with self._lock:
            if self._is_down:
                raise MachineDown(f"{kind} {path}")
            yield

    def _find(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for part in path.parts[1:]:
            node = node.now.get(part) if isinstance(node, _Directory) else None
        return node

    def _directory(self, path: Path) -> _Directory:
        found = self._find(path)
        if not isinstance(found, _Directory):
            _fail(errno.ENOENT if found is None else errno.ENOTDIR)
        return found

    def _file(self, path: Path) -> _File:
        found = self._find(path)
        if not isinstance(found, _File):
            _fail(errno.ENOENT if found is None else errno.EISDIR)
        return found

    def _change(self, *names: tuple[_Directory, str, _Node | None]) -> None:
        for directory, name, node in names:
            if node is None:
                del directory.now[name]
            else:
                directory.now[name] = node
        self._pending.append(_Change(list(names)))

    def _write(self, path: Path, file: _File, data: bytes) -> None:
        """Append what there is room for, as a filesystem does, and then say that it is full."""
        with writing(), self._operation("write", path, len(data)):
            before = file.blocks_bytes()
            room = before - len(file.data) + max(0, self._free_bytes()) // BLOCK_BYTES * BLOCK_BYTES
            file.data += data[:room]
            self._used_bytes += file.blocks_bytes() - before
            if len(data) > room:
                _fail(errno.ENOSPC)

    def _sync(self, path: Path, file: _File) -> None:
        with writing(), self._operation("sync", path):
            file.synced = bytes(file.data)

    def _read(self, path: Path, file: _File, offset: int, length: int) -> bytes:
        with reading(self, path), self._operation("read", path, length):
            if any(offset <= at < offset + length for at in file.unreadable):
                _fail(errno.EIO)
            data = bytes(file.data[offset : offset + length])
        return check_length(path, data, offset, length)

    def _lose_names(self) -> None:
        """Keep each pending change or not, but none without those before it that it builds on."""
        likelihood = self._chance.choice((0.0, 0.5, 0.9, 1.0))
        lost = set[tuple[int, str]]()
        for change in self._pending:
            if change.keys() & lost or self._chance.random() >= likelihood:
                lost |= change.keys()
            else:
                change.keep()

    def _settle(self, directory: _Directory) -> None:
        """Make what is durable all there is, in every directory that is still there."""
        directory.now = dict(directory.durable)
        for node in directory.now.values():
            if isinstance(node, _Directory):
                self._settle(node)
            else:
                node.data = bytearray(self._torn(node))
                node.synced = bytes(node.data)

    def _torn(self, file: _File) -> bytes:
        """Return what is left of a file: what was synced, and of the rest nothing, a part, holes, or all."""
        data, synced = bytes(file.data), file.synced
        if len(synced) == len(data):
            return synced
        cut = self._chance.randint(len(synced), len(data))
        return self._chance.choice((synced, data[:cut], data[:cut] + bytes(len(data) - cut), data))


class _NewFile:
    def __init__(self, disk: MemoryDisk, path: Path, file: _File) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    def write(self, data: Buffer) -> None:
        """See hippy.miner.disk.NewFile."""
        self._disk._write(self._path, self._file, bytes(memoryview(data).cast("B")))

    def sync(self) -> None:
        """See hippy.miner.disk.NewFile."""
        self._disk._sync(self._path, self._file)


class _OpenFile:
    def __init__(self, disk: MemoryDisk, path: Path, file: _File) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    def read_at(self, offset: int, length: int) -> bytes:
        """See hippy.miner.disk.OpenFile."""
        return self._disk._read(self._path, self._file, offset, length)


def _files(directory: _Directory, path: Path) -> Iterator[tuple[Path, _File]]:
    for name, node in directory.now.items():
        if isinstance(node, _Directory):
            yield from _files(node, path / name)
        else:
            yield path / name, node


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
