"""`textdiffusion data`: text made ready for training, and a look into what was made."""

from collections.abc import Sequence

from ...registry import Registry
from ..commands import Command, dispatch

STEPS: Registry[Command] = Registry(
    "preparation",
    {
        "prepare": Command("textdiffusion.cli.data.prepare", "Turn text into arrays of token ids."),
        "inspect": Command("textdiffusion.cli.data.inspect", "Look into a folder of such arrays."),
    },
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Do what `argv` begins with."""
    return dispatch(prog, "Make text ready for training, and look into what was made.", STEPS, argv)
