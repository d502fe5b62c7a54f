"""How a command ends: any failure becomes a sentence, or a JSON object under ``--json``, and an exit code.

Exit codes (DESIGN §10): 0 ok, 1 other or partial, 2 usage, 3 not found, 4 auth, 5 temporary, 6 integrity, 7 quota,
10 conflict, 11 config, 130 interrupted. A traceback is shown only with HIPPY_DEBUG=1.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import click

from hippy.cli.commands import hippy
from hippy.cli.printing import Invocation, next_step, shown
from hippy.errors import HippyError

EXIT_INTERRUPTED: Final = 130
EXIT_OTHER: Final = 1
UNEXPECTED_CHARACTERS_MAX: Final = 300
SYSTEM_HINT: Final = "check the path, who may use it, and the space on its disk"
DEBUG_HINT: Final = "run again with HIPPY_DEBUG=1 for the traceback"


def run_command_line() -> int:
    """Run what sys.argv says, tell what went wrong on standard error, and return the exit code."""
    invocation = Invocation()
    try:
        code = hippy(standalone_mode=False, obj=invocation) or 0
        sys.stdout.flush()  # what cannot be written is found here, not by the interpreter at its end
    except (KeyboardInterrupt, click.Abort):
        _tell(invocation, "interrupted", "interrupted", None, label="")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return _tell_mistake(invocation, error)
    except Exception as error:  # noqa: BLE001 - the top of the process: nobody above could report it
        return _tell_failure(invocation, error)
    return code if isinstance(code, int) else 0


def _tell_mistake(invocation: Invocation, error: click.ClickException) -> int:
    if invocation.as_json or (isinstance(error, click.UsageError) and _asked_for_json()):
        context = error.ctx if isinstance(error, click.UsageError) else None
        _tell(
            Invocation(as_json=True),
            "usage",
            error.format_message(),
            f"{context.command_path} --help" if context else None,
        )
    else:
        error.show()
    return error.exit_code


def _asked_for_json() -> bool:
    """Whether a command line that click could not parse, so that no option was seen, asks for JSON."""
    options = sys.argv[1:]
    return "--json" in (options[: options.index("--")] if "--" in options else options)


def _tell_failure(invocation: Invocation, raised: Exception) -> int:
    if os.environ.get("HIPPY_DEBUG") == "1":
        traceback.print_exception(raised)
    error = _cause(raised)
    _abandon_broken_output()
    if isinstance(error, HippyError):
        _tell(invocation, error.code, error.message, next_step(error))
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return EXIT_OTHER  # nobody reads on: end quietly
    if isinstance(error, OSError) and error.strerror:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        _tell(invocation, "internal", f"{error.strerror}{where}", SYSTEM_HINT)
        return EXIT_OTHER
    what = f"unexpected {type(error).__name__}: {error}".splitlines()[0][:UNEXPECTED_CHARACTERS_MAX]
    if invocation.as_json:
        _tell(invocation, "internal", what, DEBUG_HINT)
    else:
        _tell(invocation, "internal", f"{what}; {DEBUG_HINT}", None)
    return EXIT_OTHER


def _cause(error: Exception) -> Exception:
    """Return what a group of errors comes down to: the first that says most to a person."""
    leaves = list(_leaves(error))
    for kind in (HippyError, BrokenPipeError, OSError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _abandon_broken_output() -> None:
    """Keep the interpreter from complaining at its end about output that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(invocation: Invocation, code: str, message: str, hint: str | None, *, label: str = "error: ") -> None:
    with suppress(OSError):  # standard error may be gone too
        if invocation.as_json:
            print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}), file=sys.stderr)
            return
        print(label + "\n".join(map(shown, message.split("\n"))), file=sys.stderr)
        if hint:
            print(f"hint: {shown(hint)}", file=sys.stderr)
