"""Walking a directory: what is stored, what is left out, and that it is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hippy.client.prepare import FileReading
from hippy.client.walk import walk_directory
from hippy.errors import NotFoundError


def test_walk_finds_files_sorted_and_counts_symlinks(tmp_path: Path) -> None:
    for name in ("b/z", "b/a/x", "c", "a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "b" / "loop").symlink_to("..")
    walk = walk_directory(tmp_path)
    assert ["/".join(file.components) for file in walk.files] == ["a", "c", "b/z", "b/a/x"]
    assert sorted(walk.symlinks) == ["b/loop", "link"]
    assert walk.failures == ()
    assert [FileReading("it", file.source).read_whole() for file in walk.files] == [b"a", b"c", b"b/z", b"b/a/x"]


def test_excluded_names_are_left_out_wherever_they_are(tmp_path: Path) -> None:
    for name in ("skip/a", "keep/skip/b", "keep/c", "keep/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    walk = walk_directory(tmp_path, exclude=frozenset({"skip", ".DS_Store"}))
    assert [file.components for file in walk.files] == [("keep", "c")]


def test_special_file_is_a_failure_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")  # relative: the length of such a path is limited
        walk = walk_directory(tmp_path)
    assert [file.components for file in walk.files] == [("a",)]
    assert sorted(failure.path for failure in walk.failures) == ["pipe", "socket"]


def test_unreadable_directory_is_a_failure_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "z").touch()
    scan = os.scandir

    def refuse(path: str) -> object:  # permissions do not stop root, who may run this test
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    walk = walk_directory(tmp_path)
    assert [failure.path for failure in walk.failures] == ["shut"]
    assert [file.components for file in walk.files] == [("z",)]


def test_missing_root_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        walk_directory(tmp_path / "no such")
