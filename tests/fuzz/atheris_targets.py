"""Coverage-guided fuzzing of every parser with atheris, for who has it; no test needs it and no extra names it.

atheris needs clang to be built (``pip install atheris``). One parser, or all in turn, chosen by the first byte::

    python -m tests.fuzz.atheris_targets "audit response" -atheris_runs=1000000
    python -m tests.fuzz.atheris_targets all -max_total_time=600 CORPUS_DIRECTORY

Whatever is raised but a HippyError ends the run and leaves its input in a file ``crash-…`` of the working directory.
Samples to begin with are written into the corpus directory when one is named and empty.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from hippy.errors import HippyError
from tests.fuzz.parsers import PARSERS, Parser


def target(parsers: Sequence[Parser]) -> Callable[[bytes], None]:
    """Return what atheris calls with every input."""

    def run(data: bytes) -> None:
        parser = parsers[data[0] % len(parsers)] if len(parsers) > 1 and data else parsers[0]
        with suppress(HippyError):
            parser.parse(data[1:] if len(parsers) > 1 else data)

    return run


def seed(parsers: Sequence[Parser], corpus: Path) -> None:
    """Write the samples into an empty corpus."""
    if any(corpus.iterdir()):
        return
    for number, parser in enumerate(parsers):
        for place, sample in enumerate(parser.samples):
            prefix = bytes([number]) if len(parsers) > 1 else b""
            (corpus / f"sample-{number}-{place}").write_bytes(prefix + sample)


def main() -> None:
    """Fuzz what the command line names."""
    atheris = import_module("atheris")
    _, name, *options = sys.argv
    parsers = PARSERS if name == "all" else [parser for parser in PARSERS if parser.name == name]
    if not parsers:
        sys.exit(f"no parser {name!r}; there are: all, {', '.join(parser.name for parser in PARSERS)}")
    for corpus in (Path(option) for option in options if not option.startswith("-")):
        seed(parsers, corpus)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *options], target(parsers))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
