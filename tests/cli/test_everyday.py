"""The everyday commands against a real network: what they print, change and return."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.client.network import Network

SIZES = {"a.bin": 10_000, "b.txt": 20, "sub/c.bin": 20_000, "sub/deep/d.txt": 5}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, size in SIZES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode()[:1] * size)
    return root


@pytest.fixture
def stored(hippy: Command, tree: Path, request: pytest.FixtureRequest) -> str:
    """The URI of the tree, in a bucket of this test's own."""
    uri = f"hippy://{request.node.name[:60].replace('[', '-')}/t"
    assert hippy("put", "-r", tree, uri).code == 0
    return uri


def uris(hippy: Command, uri: str) -> list[str]:
    done = hippy("find", uri, "--type", "f")
    return [line.removeprefix(uri + "/") for line in done.out.splitlines()]


def test_du_adds_up_directories(hippy: Command, stored: str) -> None:
    told = hippy("du", stored, "--json").json["usage"]
    assert [(each["path"], each["objects"], each["bytes"]) for each in told] == [
        ("t", 4, sum(SIZES.values())),
        ("t/sub", 2, 20_005),
        ("t/sub/deep", 1, 5),
    ]
    assert told[0]["stored_bytes"] == 2 * 30_000  # 4 of 8 pieces restore it
    (line,) = hippy("du", "-s", stored).out.splitlines()
    assert line.split() == ["29.3", "KiB", "58.6", "KiB", "4", stored]
    assert len(hippy("du", "--no-stored", stored + "/s*").out.splitlines()) == 2


def test_cp_and_mv_move_names_only(hippy: Command, stored: str) -> None:
    copy, moved = f"{stored}-copy/", f"{stored}-moved"
    assert hippy("cp", stored, copy).hint.endswith("everything below it")
    done = hippy("cp", "-r", stored, copy, "--json")
    assert (done.code, done.json) == (0, {"files": 4, "bytes": sum(SIZES.values()), "failures": []})
    assert hippy("mv", copy, moved).err == "4 files, 29.3 KiB moved\n"
    assert uris(hippy, moved) == sorted(SIZES)
    assert hippy("ls", copy).code == 3
    assert hippy("mv", f"{moved}/*.*", f"{moved}/sub/").code == 0
    assert uris(hippy, moved) == ["sub/a.bin", "sub/b.txt", "sub/c.bin", "sub/deep/d.txt"]
    assert hippy("cp", f"{moved}/sub/a.bin", f"{moved}/sub/c.bin", "--if-absent").code == 10


def test_cp_and_mv_say_which_command_takes_local_files(hippy: Command) -> None:
    assert hippy("cp", "model.bin", "hippy://b/x").hint == "hippy put model.bin hippy://b/x"
    assert hippy("mv", "hippy://b/x", "model.bin").hint == "hippy get hippy://b/x model.bin"
    assert hippy("cp", "hippy://b/x", "hippy://b/y", "hippy://b/z").code == 2


def test_find_looks_for_names_sizes_and_ages(hippy: Command, stored: str) -> None:
    assert hippy("find", stored, "--name", "*.bin", "--size", "+15K").out == f"{stored}/sub/c.bin\n"
    assert hippy("find", stored, "--type", "d").out == f"{stored}/sub/\n{stored}/sub/deep/\n"
    assert len(hippy("find", stored, "--newer", "1h", "--type", "f").out.splitlines()) == 4
    assert hippy("find", stored, "--older", "2001-01-01").out == ""
    (entry,) = hippy("find", stored, "--size", "20", "--json").json["entries"]
    assert (entry["uri"], entry["size"]) == (f"{stored}/b.txt", 20)
    for bad in (("--size", "big"), ("--newer", "whenever")):
        done = hippy("find", stored, *bad)
        assert done.code == 2
        assert "write" in done.hint


def test_tree_draws_what_is_below(hippy: Command, stored: str) -> None:
    assert hippy("tree", stored).out.splitlines() == [
        stored,
        "├── a.bin  (9.8 KiB)",
        "├── b.txt  (20 B)",
        "└── sub/",
        "    ├── c.bin  (19.5 KiB)",
        "    └── deep/",
        "        └── d.txt  (5 B)",
    ]
    assert hippy("tree", "-L", "2", stored).out.splitlines()[-1] == "    └── deep/"
    told = hippy("tree", "-L", "1", stored, "--json").json
    assert told["entries"][-1] == {"name": "sub", "kind": "directory", "entries": []}


def test_check_says_how_many_pieces_answer(hippy: Command, stored: str, network: Network) -> None:
    done = hippy("check", "-r", stored, "--json")
    assert (done.code, done.json["checked"], done.json["full"], done.json["objects"]) == (0, 4, 4, [])
    for miner in network.miners:
        miner.corrupts = True
    done = hippy("check", f"{stored}/a.bin")
    assert done.code == 6
    assert done.out.startswith("lost        0 of 8 pieces (8 bad)  ")
    for miner in network.miners[:6]:
        miner.corrupts = False
    done = hippy("check", "-a", f"{stored}/*")
    assert done.code == 1
    assert {line.split("  ")[0] for line in done.out.splitlines()} <= {"at risk", "repairable", "full"}
    assert hippy("check", f"{stored}/").code == 2


def test_buckets_are_made_and_unmade(hippy: Command) -> None:
    assert hippy("bucket", "create", "cli-bucket").err == "hippy://cli-bucket/ created\n"
    assert hippy("bucket", "create", "cli-bucket", "--json").json == {
        "buckets": [{"name": "cli-bucket", "existed": True}]
    }
    assert hippy("ls", "hippy://cli-bucket/").code == 0
    hippy("put", Path(__file__), "hippy://cli-bucket/x")
    refused = hippy("bucket", "delete", "cli-bucket")
    assert (refused.code, refused.hint) == (10, "hippy bucket delete -r cli-bucket deletes its objects too")
    assert hippy("bucket", "delete", "-r", "cli-bucket").hint == "add --force"
    assert hippy("bucket", "delete", "-r", "--force", "cli-bucket", "--json").json["deleted"] == 1
    assert "cli-bucket" not in hippy("bucket", "list", "--json").json["buckets"]
    assert hippy("bucket", "delete", "cli-bucket").code == 3


def test_a_bucket_of_objects_only_goes_with_them(hippy: Command) -> None:
    hippy("put", Path(__file__), "hippy://cli-implicit/x")
    assert hippy("bucket", "delete", "-r", "--force", "cli-implicit").code == 0
    assert "cli-implicit" not in hippy("bucket", "list").out


def test_patterns_choose_what_is_listed_fetched_and_deleted(hippy: Command, stored: str, tmp_path: Path) -> None:
    listed = hippy("ls", f"{stored}/*", "--json").json["entries"]
    assert [entry["path"] for entry in listed] == ["t/a.bin", "t/b.txt", "t/sub/"]
    assert [entry["path"] for entry in hippy("ls", "-r", f"{stored}/su*", "--json").json["entries"]] == [
        "t/sub/c.bin",
        "t/sub/deep/d.txt",
    ]
    assert hippy("get", f"{stored}/**/*.bin", tmp_path / "got").code == 0
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["a.bin", "c.bin"]
    assert hippy("rm", f"{stored}/*.bin").err == "1 deleted\n"
    assert hippy("rm", f"{stored}/s*").code == 3
    assert hippy("rm", "-r", f"{stored}/s*").err == "2 deleted\n"
    assert uris(hippy, stored) == ["b.txt"]


def test_filters_choose_files_of_directories(hippy: Command, tree: Path, stored: str, tmp_path: Path) -> None:
    filtered = f"{stored}-filtered"
    assert hippy("put", "-r", tree, filtered, "--exclude", "sub/deep", "--exclude", "*.txt").code == 0
    assert uris(hippy, filtered) == ["a.bin", "sub/c.bin"]
    assert hippy("get", "-r", stored, tmp_path / "got", "--include", "*.txt").code == 0
    assert sorted(path.name for path in (tmp_path / "got").rglob("*") if path.is_file()) == ["b.txt", "d.txt"]
    assert hippy("put", tree / "a.bin", filtered, "--exclude", "x").hint == "add -r"


@pytest.mark.parametrize("command", ["put", "get", "rm", "mv", "cp"])
def test_a_dry_run_changes_nothing(
    hippy: Command, tree: Path, stored: str, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines: dict[str, tuple[list[str | Path], str]] = {
        "put": (["-r", tree, f"{stored}/new"], f"would store {tree}/a.bin -> {stored}/new/a.bin  (9.8 KiB)"),
        "get": (["-r", stored, "out"], f"would fetch {stored}/a.bin -> out/a.bin  (9.8 KiB)"),
        "rm": (["-r", stored], f"would delete {stored}/a.bin  (9.8 KiB)"),
        "mv": ([stored, f"{stored}2/"], f"would move {stored}/a.bin -> {stored}2/a.bin  (9.8 KiB)"),
        "cp": (["-r", stored, f"{stored}2/"], f"would copy {stored}/a.bin -> {stored}2/a.bin  (9.8 KiB)"),
    }
    args, line = lines[command]
    done = hippy(command, "-n", *args)
    assert (done.code, done.out.splitlines()[0], len(done.out.splitlines())) == (0, line, 4)
    assert "nothing was changed" in done.err
    told = hippy(command, "-n", "--json", *args).json
    assert (told["dry_run"], len(told["pairs"])) == (True, 4)
    assert uris(hippy, stored) == sorted(SIZES)
    assert hippy("ls", f"{stored}2").code == 3
    assert not (tmp_path / "out").exists()


def test_results_are_one_json_document_and_progress_is_not_among_them(
    hippy: Command, stored: str, tmp_path: Path
) -> None:
    commands = [
        ("ls", stored),
        ("stat", f"{stored}/a.bin"),
        ("du", stored),
        ("find", stored),
        ("tree", stored),
        ("check", "-r", stored),
        ("get", "-r", stored, str(tmp_path / "got")),
        ("cp", "-r", stored, f"{stored}3/"),
        ("mv", f"{stored}3/", f"{stored}4/"),
        ("rm", "-r", f"{stored}4/"),
        ("bucket", "list"),
        ("whoami",),
    ]
    for command in commands:
        done = hippy(*command, "--json")
        assert (done.code, type(json.loads(done.out))) == (0, dict), command


@pytest.mark.parametrize("command", [("ls",), ("tree",), ("tree", "-L", "1"), ("du",), ("du", "-s"), ("find",)])
def test_a_bucket_that_nobody_made_is_not_there(hippy: Command, command: tuple[str, ...]) -> None:
    done = hippy(*command, "hippy://no-such-bucket/")
    assert (done.code, done.out, done.hint) == (3, "", "hippy ls lists the buckets")
    hippy("bucket", "create", "made")
    assert hippy(*command, "hippy://made/").code == 0


def test_a_wrong_r_is_named_where_it_is_forgotten_or_too_much(hippy: Command, stored: str, tmp_path: Path) -> None:
    for command in (
        ("get", stored, tmp_path / "got"),
        ("get", stored, "-"),
        ("cat", stored),
        ("stat", stored),
        ("rm", stored),
        ("check", stored),
        ("cp", stored, f"{stored}2"),
    ):
        done = hippy(*command)
        assert (done.code, done.hint) == (3, "it is a directory: use recursive (-r) for everything below it")
    done = hippy("get", "-r", f"{stored}/a.bin", tmp_path / "got")
    assert (done.code, done.hint) == (3, "it is an object: leave recursive (-r) out")
    assert hippy("rm", f"{stored}/nothing").hint == "hippy ls shows what there is"


def test_check_tells_what_is_not_there_from_what_is_lost(hippy: Command, stored: str) -> None:
    done = hippy("check", f"{stored}/a.bin", f"{stored}/nothing")
    assert done.code == 1
    assert done.err.endswith("1 object checked: 1 full, 1 not there\n")


def test_a_dry_run_of_a_put_names_what_would_fail(hippy: Command, tree: Path) -> None:
    (tree / "link").symlink_to("a.bin")
    os.mkfifo(tree / "pipe")
    (tree / os.fsdecode(b"bad\xff")).write_bytes(b"")
    args = ("put", "-r", tree, "hippy://dry-run-names/")
    dry, real = hippy(*args, "-n", "--json"), hippy(*args, "--json")
    assert (dry.code, real.code) == (1, 1)
    assert len(dry.json["pairs"]) == real.json["files"] == 4
    for key in ("symlinks", "failures"):
        assert sorted(map(str, dry.json[key])) == sorted(map(str, real.json[key]))
    assert "2 would fail; nothing was changed" in hippy(*args, "-n").err


def test_what_comes_through_a_pipe_was_changed_when_it_was_put(
    hippy: Command, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time() - 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    assert hippy("put", "-", f"{stored}/piped").code == 0
    assert began < hippy("stat", f"{stored}/piped", "--json").json["mtime_us"] / 1e6 < time.time() + 1
    assert f"{stored}/piped" in hippy("find", stored, "--newer", "1h").out.splitlines()
