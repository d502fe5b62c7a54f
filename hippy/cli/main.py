"""The command's entry. It imports nothing before it can tell an interruption from a mistake.

hippy.cli.commands has the commands; hippy.cli.outcome turns any failure into a sentence and an exit code.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with the code that tells what happened."""
    try:
        from hippy.cli.outcome import run_command_line

        code = run_command_line()
    except KeyboardInterrupt:  # during the imports, or while something else was being told
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
