"""A table of commands, and the choice of one of them without loading the others."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ..errors import SettingsError


@dataclass(frozen=True)
class Command:
    """A command and the module that holds it, which has a function ``run(prog, argv) -> exit code``."""

    module: str
    """Loaded when the command is called, as some take seconds."""
    summary: str
    """What it does, in one line."""

    def run(self, prog: str, argv: Sequence[str]) -> int:
        """Load the module and run the command; `prog` is how the user called it."""
        with _patience():
            module = importlib.import_module(self.module)
        code: int = module.run(prog, argv)
        return code


def dispatch(prog: str, about: str, table: Mapping[str, Command], argv: Sequence[str]) -> int:
    """Run the command that `argv` begins with; list the commands when it begins with none.

    Raises:
        UnknownNameError: the table has no such command; the nearest is offered.
        SettingsError: a flag stands where a command belongs.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_listing(prog, about, table))
        return 0
    name, *rest = argv
    if name.startswith("-"):
        raise SettingsError(f"{name} stands where a command belongs; `{prog} --help` lists them.")
    return table[name].run(f"{prog} {name}", rest)


def _patience() -> AbstractContextManager[object]:
    """A sign of life at a terminal, as importing the libraries takes seconds."""
    if sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console  # loaded only when it is shown

    return Console(stderr=True).status("starting")


def _listing(prog: str, about: str, table: Mapping[str, Command]) -> str:
    width = max(map(len, table))
    rows = (f"  {name:<{width}}  {command.summary}" for name, command in table.items())
    head = f"usage: {prog} COMMAND ...\n\n{about}\n\ncommands:\n"
    return head + "\n".join(rows) + f"\n\n`{prog} COMMAND --help` shows what a command takes."
