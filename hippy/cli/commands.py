"""Which commands there are. Their modules are imported when they are used."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Final

import click

from hippy.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

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
    "cp": ("hippy.cli.copying", "Copy objects inside the network, without moving their data."),
    "mv": ("hippy.cli.copying", "Move or rename objects inside the network."),
    "du": ("hippy.cli.du", "Show how much directories hold."),
    "find": ("hippy.cli.find", "Find objects by name, size and age."),
    "tree": ("hippy.cli.tree", "Show what is below a path as a tree."),
    "check": ("hippy.cli.check", "Ask miners whether they still have what objects are made of."),
    "bucket": ("hippy.cli.bucket", "Create, list and delete buckets."),
    "bench": ("hippy.cli.bench", "Measure how fast this machine codes, prepares and proves."),
    "sim": ("hippy.cli.sim", "Simulate miners that cheat and say what that earns them."),
    "completion": ("hippy.cli.completion", "Print a script that completes commands in bash, zsh or fish."),
    "doctor": ("hippy.cli.doctor", "Check this installation and say what to do."),
    "miner": ("hippy.cli.node", "Run a miner."),
    "validator": ("hippy.cli.node", "Run a validator."),
    "chain": ("hippy.cli.chain", "Register a node on a Bittensor network; look at a subnet; keep a private one."),
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without importing anything, or the options."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hippy")
def hippy() -> None:
    """A decentralized storage network for AI data.

    Try it: hippy demo.  A network of your own: hippy net up -d, then hippy put -r DIR hippy://bucket/dir/.
    """
    if "HIPPY_CRASH_AT" in os.environ:  # a test wants this process killed at a point; else nothing is imported for it
        from hippy.points import arm

        arm(os.environ)
