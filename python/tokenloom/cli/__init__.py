"""Which command did the user type?

``tokenloom`` and ``python -m tokenloom`` both call :func:`main`. The commands need the ``cli`` extra (click, rich);
this module does not, so that a missing package is answered with the line that installs it.
"""

from __future__ import annotations

import sys

from tokenloom.errors import MissingDependencyError, TokenloomError

__all__ = ["main"]


def main() -> None:
    """Run the command line in ``sys.argv``.

    An error of ours, and a file that cannot be read or written, is one message on stderr and exit status 1.
    """
    try:
        _load_and_run()
    except (TokenloomError, OSError) as error:
        sys.exit(f"tokenloom: {error}")


def _load_and_run() -> None:
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"the command line needs the package {error.name!r}, which is not installed\n"
            "hint: pip install tokenloom[cli]"
        ) from error
    from tokenloom.cli.program import program

    program(prog_name="tokenloom")
