"""The machine a figure belongs to: processor, interpreter, engine, and what else was going on.

A figure without these means nothing to anybody else. Where the system does not tell, the field is empty or None.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hippy.erasure.engines import EngineChoice

CPUINFO: Final = Path("/proc/cpuinfo")
CPUINFO_BYTES_MAX: Final = 64 * 1024
"""One processor is described in less; all have the same flags."""

FLAGS: Final = (
    *("ssse3", "sse4_1", "avx", "avx2", "avx512f", "avx512bw", "avx512vl", "gfni"),
    *("aes", "vaes", "pclmulqdq", "vpclmulqdq"),
    *("asimd", "sve", "sve2"),
)
"""What decides how fast BLAKE3, AES-CTR and Reed-Solomon are, on x86-64 and on ARM."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when something was measured."""

    processor: str
    architecture: str
    cores: int
    """How many of them this process may use."""

    flags: tuple[str, ...]
    """Those of FLAGS that the processor has."""

    system: str
    python: str
    engine: str
    library: str | None
    """The shared library behind the engine."""

    engine_reason: str | None
    """Why the slow engine serves, where it does."""

    load: tuple[float, ...]
    """Load average of the last 1, 5 and 15 minutes when the run began."""

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON has it."""
        return {
            "processor": self.processor,
            "architecture": self.architecture,
            "cores": self.cores,
            "flags": list(self.flags),
            "system": self.system,
            "python": self.python,
            "engine": self.engine,
            "library": self.library,
            "engine_reason": self.engine_reason,
            "load": list(self.load),
        }


def describe_machine(choice: EngineChoice, cpuinfo: Path = CPUINFO) -> Machine:
    """Return what this machine is and does right now."""
    told = _first_processor(cpuinfo)
    flags = set(told.get("flags", told.get("Features", "")).split())
    return Machine(
        processor=told.get("model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=_cores(),
        flags=tuple(flag for flag in FLAGS if flag in flags),
        system=platform.system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        engine=choice.name,
        library=choice.library,
        engine_reason=choice.reason,
        load=_load(),
    )


def _first_processor(cpuinfo: Path) -> Mapping[str, str]:
    """Return Linux's ``name : value`` lines about the first processor; none elsewhere."""
    try:
        with cpuinfo.open("rb") as file:
            text = file.read(CPUINFO_BYTES_MAX).decode(errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> tuple[float, ...]:
    try:
        return tuple(round(value, 2) for value in os.getloadavg())
    except (AttributeError, OSError):  # not on Windows; not in every container
        return ()
