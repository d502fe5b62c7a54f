"""A local network run as a user runs it: the command line, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hippy.net.supervisor import is_supervised

RUN_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs ``hippy`` with a HIPPY_HOME of its own."""

    home: Path

    def run(self, *args: str | Path, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one command and check its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "hippy.cli", *map(str, args)],
            env=self.environment(),
            input=stdin,
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == code, (args, done.returncode, done.stdout.decode(), done.stderr.decode())
        return done

    def json(self, *args: str | Path, code: int = 0) -> Any:
        """Run one command with --json and return what it printed."""
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def stop(self) -> None:
        """Stop the network if it runs."""
        if is_supervised(self.net_dir):
            self.run("net", "down")

    def make_whole(self) -> None:
        """Start the network, or those of its nodes, that a test has ended."""
        if not is_supervised(self.net_dir):
            self.run("net", "up", "-d")
            return
        ended = [node["name"] for node in self.json("net", "status")["nodes"] if node["state"] != "running"]
        if ended:
            self.run("net", "start", *ended)

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the commands."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("HIPPY_")}
        return {**clean, "HIPPY_HOME": str(self.home), "PYTHONWARNINGS": "default"}

    @property
    def net_dir(self) -> Path:
        """The directory of the network."""
        return self.home / "state" / "net"

    def node_dir(self, name: str) -> Path:
        """Return the directory of one node."""
        return self.net_dir / "nodes" / name


def write_tree(root: Path, *, large: bool = True) -> None:
    """Write a small directory with everything that breaks naive tools; ``large`` has a file of two segments."""
    files = {
        "empty": b"",
        "one": b"1",
        "inline limit": bytes(range(256)) * 16,
        "just above": bytes(range(256)) * 16 + b"!",
        "ünï côdé/日本語 файл.txt": "héllo".encode(),
        "deep/er/and/deeper/file.bin": os.urandom(70_001),
    }
    if large:
        files["two segments.bin"] = os.urandom(17 * 1024 * 1024 + 3)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for number in range(40):
        (root / f"small-{number}.txt").write_bytes(os.urandom(5_000 + number))
    (root / "one").chmod(0o755)


def same_tree(left: Path, right: Path) -> bool:
    """Return whether two directories hold the same files."""
    return _contents(left) == _contents(right)


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
