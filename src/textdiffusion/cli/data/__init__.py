"""`textdiffusion data`: text collected, cleaned, published and made ready for training."""

from collections.abc import Sequence

from ...registry import Registry
from ..commands import Command, dispatch

STEPS: Registry[Command] = Registry(
    "preparation",
    {
        "crawl": Command("textdiffusion.cli.data.crawl", "Collect the poems of a site."),
        "clean": Command("textdiffusion.cli.data.clean", "Clean documents by rules that are counted."),
        "imagery": Command("textdiffusion.cli.data.imagery", "Find the terms of imagery of each poem."),
        "publish": Command("textdiffusion.cli.data.publish", "Upload a data set to the Hub, with its card."),
        "prepare": Command("textdiffusion.cli.data.prepare", "Turn text into arrays of token ids."),
        "inspect": Command("textdiffusion.cli.data.inspect", "Look into a folder of such arrays."),
    },
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Do what `argv` begins with."""
    return dispatch(prog, "Collect, clean and publish text, and make it ready for training.", STEPS, argv)
