"""What commands are there?

One line a command in :data:`COMMANDS`. A command's module is imported when the command is named or listed, and imports
what it works with when it runs, so that ``tokenloom --help`` stays fast.
"""

from __future__ import annotations

import importlib

import click

from tokenloom import __version__

__all__ = ["COMMANDS", "program"]

# name of the command: "module:function"
COMMANDS: dict[str, str] = {
    "bench": "tokenloom.cli.bench:bench",
    "bytes": "tokenloom.cli.bytes:bytes_command",
    "decode": "tokenloom.cli.decode:decode",
    "demo": "tokenloom.cli.demo:demo",
    "encode": "tokenloom.cli.encode:encode",
    "generate": "tokenloom.cli.generate:generate",
    "inspect": "tokenloom.cli.inspect:inspect",
    "train": "tokenloom.cli.train:train",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name in :data:`COMMANDS`, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tokenloom")
def program() -> None:
    """The token layer for language models: everything between text and logits.

    Each command explains itself with an example: tokenloom COMMAND --help
    """
