"""Piece files and their trees on one filesystem. Blocking: hippy.miner.store calls it in threads.

Layout below the data directory::

    incoming/<random>            files being written; emptied at start
    pieces/<aa>/<root hex>       a whole piece; aa are the root's first two digits
    pieces/<aa>/<root hex>.tree  its leaf hashes, 32 bytes each; none for a piece of one leaf
    quarantine/                  damaged pieces, for the operator to look at (hippy.miner.quarantine)

Pieces are durable before :meth:`PieceFiles.write` returns: bytes synced, then renamed, then the folder synced. Trees
are not synced: a tree is checked against the root whenever it is loaded, and computed from the data when it is
missing or wrong. Which pieces exist is the index's to say (hippy.miner.obligations); a file without a row there is
removed by :meth:`PieceFiles.sweep`, which knows nothing of the quarantine.

The disk is not believed. A whole read recomputes the root. A ranged read hashes the leaves it read and compares
them with the tree, which the root vouches for, so the undamaged leaves of a damaged piece are still served,
until its tree is lost as well: then nothing proves any leaf, and every read of the piece is an IntegrityError.

Example::

    make_data_directory(data_dir)
    files = PieceFiles.open(data_dir)
    files.write(root, data, leaf_hashes(data))
    data = files.read(root, len(data))
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hippy.errors import IntegrityError, TemporaryError
from hippy.hashing import HASH_BYTES
from hippy.ids import Root
from hippy.miner.disk import SYSTEM_DISK, Disk, NewFile, make_directories, read_exactly
from hippy.miner.leaves import Levels, ProvenLeaf, levels_of, proven
from hippy.miner.quarantine import TREE_SUFFIX, Quarantine
from hippy.points import reached
from hippy.proofs.paths import leaf_length
from hippy.proofs.ranges import RangeProof, covering_leaves, prove
from hippy.proofs.tree import LEAF_BYTES, leaf_count, leaf_hashes, piece_root, root_over

if TYPE_CHECKING:
    from typing_extensions import Buffer

FOLDERS: Final = 256
MISSING_NAMED_MAX: Final = 4_096
"""A sweep that has found so many lost pieces ends with its folder, so that a lost disk does not fill the memory."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found: files removed because no row names them, pieces in the index that have no file.

    ``next_folder`` is where to go on, FOLDERS when all is done.
    """

    orphans: int
    missing: tuple[Root, ...]
    next_folder: int


def make_data_directory(data_dir: Path, disk: Disk = SYSTEM_DISK) -> None:
    """Create the data directory and what is missing above it, durably. Raises TemporaryError."""
    make_directories(disk, data_dir)


class PieceFiles:
    """The files below one data directory; made by :meth:`open`."""

    def __init__(self, data_dir: Path, disk: Disk = SYSTEM_DISK) -> None:
        self._disk = disk
        self._data_dir = data_dir
        self._pieces = data_dir / "pieces"
        self._incoming = data_dir / "incoming"
        self.quarantine = Quarantine(data_dir / "quarantine", disk)
        """The damaged pieces that :meth:`set_aside` moved away."""

    @classmethod
    def open(cls, data_dir: Path, disk: Disk = SYSTEM_DISK) -> PieceFiles:
        """Create what is missing of the layout and drop unfinished uploads.

        Raises TemporaryError when the disk does not let us.
        """
        files = cls(data_dir, disk)
        make_directories(disk, files._pieces)
        make_directories(disk, files._incoming)
        make_directories(disk, files.quarantine.directory)
        files._make_folders()
        for name in disk.names(files._incoming):
            disk.remove(files._incoming / name)
        return files

    def is_laid_out(self) -> bool:
        """Return whether there is any folder of pieces; they come with the first start and stay."""
        return self._disk.is_directory(self._pieces) and bool(self._disk.names(self._pieces))

    def is_empty(self) -> bool:
        """Return whether there is no file of any piece."""
        names = self._disk.names
        return not self.is_laid_out() or not any(names(self._pieces / folder) for folder in names(self._pieces))

    def free_bytes(self) -> int:
        """Return how many bytes the filesystem has free for us. Raises TemporaryError when it does not say."""
        return self._disk.free_bytes(self._pieces)

    def folders(self) -> list[Path]:
        """Return every directory in which this miner keeps files, the index among them, for :meth:`allocated_bytes`."""
        folders = [self._folder(byte) for byte in range(FOLDERS)]
        return [*folders, self._incoming, self.quarantine.directory, self._data_dir / "index"]

    def allocated_bytes(self, folder: Path) -> int:
        """Return what the files of one of :meth:`folders` take on disk, in bytes; one stat for each of them.

        Summed up over all folders that is what ``du`` finds but for the directories. Raises TemporaryError.
        """
        if not self._disk.is_directory(folder):
            return 0
        return sum(self._disk.sizes(folder).values())

    def path(self, root: Root) -> Path:
        """Return where a piece is."""
        name = root.hex()
        return self._pieces / name[:2] / name

    def tree_path(self, root: Root) -> Path:
        """Return where a piece's tree is."""
        path = self.path(root)
        return path.with_name(path.name + TREE_SUFFIX)

    def write(self, root: Root, data: Buffer, hashes: Sequence[bytes]) -> None:
        """Make a piece durable, over an older copy if there is one; the caller has checked its root.

        Raises NoSpaceError, TemporaryError; a failure leaves at most files that no row names.
        """
        draft = self.draft(data)
        try:
            self._write_tree(root, hashes)
        except BaseException:
            with suppress(TemporaryError):  # what failed first is what is told; the next start drops the draft
                self._disk.remove(draft)
            raise
        self.publish(draft, root)

    def draft(self, data: Buffer) -> Path:
        """Write a piece's bytes, durably, under no name yet. Raises NoSpaceError, TemporaryError."""
        with self._new_draft() as (draft, file):
            file.write(data)
            reached("miner.data_written")
            file.sync()
        reached("miner.data_synced")
        return draft

    def publish(self, draft: Path, root: Root) -> None:
        """Give a draft its piece's name, durably; a failure leaves no draft. Raises NoSpaceError, TemporaryError."""
        path = self.path(root)
        try:
            self._disk.rename(draft, path)
        except BaseException:
            with suppress(TemporaryError):  # as above
                self._disk.remove(draft)
            raise
        reached("miner.renamed")
        self._disk.sync_directory(path.parent)
        reached("miner.folder_synced")

    def remove(self, root: Root) -> None:
        """Remove a piece and its tree, as far as they are there; a crash may bring them back. Raises TemporaryError.

        No row names them when this is called, so the next sweep removes what came back.
        """
        self._disk.remove(self.path(root))
        self._disk.remove(self.tree_path(root))

    def set_aside(self, root: Root, now_seconds: int) -> bool:
        """Move a damaged piece and its tree to the quarantine, durably; returns whether there was a file.

        The caller sees to it that nobody writes this piece meanwhile, or a healed one would be moved. Raises
        NoSpaceError, TemporaryError.
        """
        path, tree = self.path(root), self.tree_path(root)
        there = {path.name, tree.name} & set(self._disk.names(path.parent))
        if path.name not in there:
            return False
        self.quarantine.take(path, tree if tree.name in there else None, root, now_seconds)
        return True

    def read(self, root: Root, length: int) -> bytes:
        """Return a whole piece of ``length`` bytes.

        Raises IntegrityError when the disk does not have it as it was.
        """
        return self._read_checked(root, length)[0]

    def read_range(self, root: Root, length: int, offset: int, count_bytes: int) -> RangeProof:
        """Return the leaves that cover ``count_bytes`` from ``offset`` on, with their proof.

        Raises ProtocolError when the piece has no such bytes, IntegrityError when the disk lies about them.
        """
        first, count = covering_leaves(offset, count_bytes, length)
        hashes = self._load_tree(root, length)[0]
        start = first * LEAF_BYTES
        data = read_exactly(self._disk, self.path(root), start, min(count * LEAF_BYTES, length - start), size=length)
        if leaf_hashes(data) != list(hashes[first : first + count]):
            raise IntegrityError(f"leaves {first} to {first + count - 1} of piece {root.hex()} are damaged here")
        return RangeProof(length, first, data, tuple(prove(hashes, first, count)))

    def read_leaves(self, root: Root, length: int, leaves: Collection[int]) -> dict[int, ProvenLeaf | None]:
        """Return leaves of one piece with their paths, None for what the disk has no longer as it was.

        Reads the tree once and every leaf once, in the order of the file; the leaves are in the piece. Raises
        TemporaryError for what cannot be read now.
        """
        try:
            if leaf_count(length) == 1:  # its root vouches for it, there is no tree
                return {0: ProvenLeaf(self._read_checked(root, length)[0], b"")}
            levels, path = self._load_tree(root, length), self.path(root)
            found: dict[int, ProvenLeaf | None] = dict.fromkeys(sorted(set(leaves)))
            with self._disk.open(path, size=length) as file:
                for leaf in found:
                    with suppress(IntegrityError):  # a damaged leaf, or a bad sector, costs no other leaf
                        data = file.read_at(leaf * LEAF_BYTES, leaf_length(length, leaf))
                        found[leaf] = proven(levels, leaf, data)
            return found
        except IntegrityError:
            return dict.fromkeys(leaves)

    def sweep(self, known: Callable[[int], Set[Root]], first_folder: int = 0) -> Sweep:
        """Remove every file whose piece is not in ``known(first byte of the root)``, and name lost pieces.

        Goes on from ``first_folder``, and ends before the last when it has found many lost pieces.
        """
        orphans, missing = 0, list[Root]()
        for byte in range(first_folder, FOLDERS):
            if len(missing) >= MISSING_NAMED_MAX:
                return Sweep(orphans, tuple(missing), byte)
            names = {root.hex() for root in known(byte)}
            folder = self._folder(byte)
            found = set(self._disk.names(folder))
            missing += [Root(bytes.fromhex(name)) for name in sorted(names - found)]
            strays = sorted(name for name in found if name.removesuffix(TREE_SUFFIX) not in names)
            for name in strays:
                self._disk.remove(folder / name)
            orphans += len(strays)
        return Sweep(orphans, tuple(missing), FOLDERS)

    def _folder(self, byte: int) -> Path:
        return self._pieces / f"{byte:02x}"

    def _make_folders(self) -> None:
        """All of them before the first piece, so that no upload has to wait for, or race over, a new folder."""
        missing = {f"{byte:02x}" for byte in range(FOLDERS)} - set(self._disk.names(self._pieces))
        for name in sorted(missing):
            self._disk.make_directory(self._pieces / name)
        if missing:
            self._disk.sync_directory(self._pieces)

    def _read_checked(self, root: Root, length: int) -> tuple[bytes, list[bytes]]:
        data = read_exactly(self._disk, self.path(root), 0, length, size=length)
        hashes = leaf_hashes(data)
        if piece_root(hashes, length) != root:
            raise IntegrityError(f"piece {root.hex()} is damaged on this disk")
        return data, hashes

    def _load_tree(self, root: Root, length: int) -> Levels:
        """Return the tree that leads to the root: over the stored leaf hashes, else over new ones, then stored."""
        stored = self._stored_tree(root, leaf_count(length))
        if stored is not None:
            levels = levels_of(stored)
            if root_over(levels[-1][0], length) == root:
                return levels
        _, hashes = self._read_checked(root, length)
        with suppress(TemporaryError):  # a full disk can still be read; the next read tries again
            self._write_tree(root, hashes)
        return levels_of(hashes)

    def _stored_tree(self, root: Root, leaves: int) -> list[bytes] | None:
        if leaves == 1:
            return None
        size = leaves * HASH_BYTES
        try:
            raw = read_exactly(self._disk, self.tree_path(root), 0, size, size=size)
        except IntegrityError:
            return None  # lost or cut short; the data can tell it again
        return [raw[at : at + HASH_BYTES] for at in range(0, size, HASH_BYTES)]

    def _write_tree(self, root: Root, hashes: Sequence[bytes]) -> None:
        if len(hashes) == 1:
            return
        with self._new_draft() as (draft, file):
            file.write(b"".join(hashes))
            self._disk.rename(draft, self.tree_path(root))
        reached("miner.tree")

    @contextmanager
    def _new_draft(self) -> Iterator[tuple[Path, NewFile]]:
        """Make a file of its own among the uploads, with a name nobody else has; a failure leaves no file."""
        draft = self._incoming / secrets.token_hex(16)
        with self._disk.create(draft) as file:
            yield draft, file
