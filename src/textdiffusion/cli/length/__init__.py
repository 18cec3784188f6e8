"""`textdiffusion length`: teach a model to tell how long its texts will be."""

from collections.abc import Sequence

from ...registry import Registry
from ..commands import Command, dispatch

WORK: Registry[Command] = Registry(
    "work on lengths",
    {"fit": Command("textdiffusion.cli.length.fit", "Fit a head that reads the length from the prompt.")},
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Do the work that `argv` begins with."""
    return dispatch(prog, "Teach a model to tell how long its texts will be.", WORK, argv)
