"""What a new user types, and what it must do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.local import Shell, same_tree, write_tree

pytestmark = pytest.mark.e2e


def test_a_directory_comes_back_as_it_was(shared_network: Shell, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    write_tree(source)
    (source / "link").symlink_to("one")
    put = shared_network.run("put", "-r", source, "hippy://hand/d/")
    assert b"link" in put.stderr
    shared_network.run("get", "-r", "hippy://hand/d/", back)
    (source / "link").unlink()
    assert same_tree(source, back)
    assert os.access(back / "one", os.X_OK)
    assert not os.access(back / "empty", os.X_OK)


def test_ls_shows_names_as_people_wrote_them(shared_network: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_tree(source, large=False)
    shared_network.run("put", "-r", source, "hippy://names/d/")
    listed = shared_network.run("ls", "hippy://names/d/").stdout.decode()
    assert "ünï côdé/" in listed
    assert "inline limit" in listed
    recursive = shared_network.json("ls", "-r", "hippy://names/d/")
    assert "d/ünï côdé/日本語 файл.txt" in {entry["path"] for entry in recursive["entries"]}
    assert "names" in shared_network.run("ls").stdout.decode()


def test_an_unreadable_file_is_reported_and_the_rest_goes_on(shared_network: Shell, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    (source / "good").write_bytes(b"good")
    os.mkfifo(source / "pipe")  # a fifo stands for what cannot be read: root reads everything else
    put = shared_network.run("put", "-r", source, "hippy://hand/unreadable/", code=1)
    assert b"pipe" in put.stderr
    shared_network.run("get", "-r", "hippy://hand/unreadable/", back)
    assert [path.name for path in back.iterdir()] == ["good"]


def test_standard_input_and_output(shared_network: Shell) -> None:
    content = os.urandom(100_000)
    shared_network.run("put", "-", "hippy://hand/stream", stdin=content)
    assert shared_network.run("cat", "hippy://hand/stream").stdout == content
    assert shared_network.run("get", "hippy://hand/stream", "-").stdout == content


def test_overwriting_and_removing(shared_network: Shell, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"first", os.urandom(50_000), b""):
        file.write_bytes(content)
        shared_network.run("put", file, "hippy://hand/again")
        assert shared_network.run("cat", "hippy://hand/again").stdout == content
    assert shared_network.json("stat", "hippy://hand/again")["version"] == 3
    shared_network.run("rm", "hippy://hand/again")
    assert b"again" in shared_network.run("cat", "hippy://hand/again", code=3).stderr
    shared_network.run("put", file, "hippy://hand/again")
    assert shared_network.json("stat", "hippy://hand/again")["version"] == 5


def test_whoami_shows_use_and_quota(shared_network: Shell) -> None:
    account = shared_network.json("whoami")
    assert account["quota_bytes"] > account["used_bytes"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["get", "hippy://hand/nothing", "out"], 3),
        (["rm", "hippy://hand/nothing"], 3),
        (["stat", "hippy://hand/nothing"], 3),
        (["put", "/no/such/file", "hippy://hand/x"], 3),
        (["put", "."], 2),
        (["put", ".", "not-a-uri"], 2),
        (["put", ".", "hippy://hand/x"], 2),
        (["frobnicate"], 2),
        (["put", "--ec", "8/4", "/etc/hostname", "hippy://hand/x"], 2),
        (["put", "--ec", "10/24", os.__file__, "hippy://hand/x/"], 5),
    ],
)
def test_mistakes_have_their_exit_code_and_a_sentence(shared_network: Shell, args: list[str], code: int) -> None:
    done = shared_network.run(*args, code=code)
    assert b"Traceback" not in done.stderr
    assert b"rror: " in done.stderr
