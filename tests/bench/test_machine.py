"""The machine a figure belongs to is described, or said to be unknown."""

from __future__ import annotations

import json
from pathlib import Path

from hippy.bench.machine import describe_machine
from tests.bench.engines import ZFEC, watched

X86 = """processor\t: 0
model name\t: Imaginary(R) 9000 CPU: fast
flags\t\t: fpu sse4_1 aes avx2 avx512f gfni

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd aes sve\nCPU part\t: 0xd40\n"


def cpuinfo(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    return path


def test_the_processor_and_its_flags_are_those_of_the_first_one(tmp_path: Path) -> None:
    machine = describe_machine(watched(), cpuinfo(tmp_path, X86))
    assert machine.processor == "Imaginary(R) 9000 CPU: fast"
    assert machine.flags == ("sse4_1", "avx2", "avx512f", "gfni", "aes")


def test_flags_of_other_architectures_are_found(tmp_path: Path) -> None:
    assert describe_machine(watched(), cpuinfo(tmp_path, ARM)).flags == ("aes", "asimd", "sve")


def test_a_system_that_tells_nothing_is_described_too(tmp_path: Path) -> None:
    machine = describe_machine(watched(), tmp_path / "missing")
    assert machine.flags == ()
    assert machine.processor
    assert machine.cores >= 1


def test_the_engine_and_why_it_serves_are_told() -> None:
    fast, slow = describe_machine(watched()).to_dict(), describe_machine(ZFEC).to_dict()
    assert (fast["engine"], fast["library"], fast["engine_reason"]) == ("watched", "libwatched.so", None)
    assert (slow["engine"], slow["library"], slow["engine_reason"]) == ("zfec", None, "no ISA-L library was found")
    assert json.loads(json.dumps(fast)) == fast
