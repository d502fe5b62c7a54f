"""``hippy completion bash | zsh | fish``: completion of commands and options in a shell.

The script is click's; it asks ``hippy`` itself at every press of the key, so it never grows old. Names in a network are
not completed: each press would cost a handshake and a listing.
"""

from __future__ import annotations

from typing import Final

import click

COMPLETE_VARIABLE: Final = "_HIPPY_COMPLETE"
"""What click calls it for a program of this name."""

SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print a script that makes the TAB key complete commands and options.

    \b
    bash: echo 'eval "$(hippy completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(hippy completion zsh)"' >> ~/.zshrc
    fish: hippy completion fish > ~/.config/fish/completions/hippy.fish

    Paths below hippy:// are not completed: that would ask the network at every key.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "hippy", COMPLETE_VARIABLE).source())
