"""The command's entry: which commands there are, and how any failure becomes a sentence and an exit code.

Exit codes (DESIGN §10): 0 ok, 1 other or partial, 2 usage, 3 not found, 4 auth, 5 temporary, 6 integrity, 7 quota,
10 conflict, 11 config, 130 interrupted. A traceback is shown only with HIPPY_DEBUG=1.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Final, NoReturn

import click

from hippy.errors import HippyError
from hippy.version import __version__

EXIT_INTERRUPTED: Final = 130

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("hippy.cli.demo", "See it work: real files survive the death of n-k miners."),
    "net": ("hippy.cli.net", "Run a local storage network."),
    "login": ("hippy.cli.account", "Create an account or restore one from its recovery phrase."),
    "whoami": ("hippy.cli.account", "Show the account in use and its quota."),
    "put": ("hippy.cli.put", "Store files and directories."),
    "get": ("hippy.cli.get", "Fetch objects into files and directories."),
    "cat": ("hippy.cli.get", "Write an object to standard output."),
    "ls": ("hippy.cli.objects", "List buckets and objects."),
    "stat": ("hippy.cli.objects", "Show one object."),
    "rm": ("hippy.cli.objects", "Delete objects."),
    "miner": ("hippy.cli.node", "Run a miner."),
    "validator": ("hippy.cli.node", "Run a validator."),
}
"""Command → module that holds it, and its line in ``hippy --help``; modules are imported on use."""


class LazyGroup(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hippy")
def hippy() -> None:
    """A decentralized storage network for AI data.

    Try it: hippy demo.  A network of your own: hippy net up -d, then hippy put -r DIR hippy://bucket/dir/.
    """


def main() -> NoReturn:
    """Run the command line and exit with the code that tells what happened."""
    try:
        code = hippy(standalone_mode=False) or 0
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: end quietly
        code = 1
    except HippyError as error:
        code = _report(error)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: HippyError) -> int:
    if os.environ.get("HIPPY_DEBUG") == "1":
        raise error
    if "--json" in sys.argv:
        described = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": described}), file=sys.stderr)
    else:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code
