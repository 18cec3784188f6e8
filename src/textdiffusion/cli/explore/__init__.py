"""`textdiffusion explore`: small experiments on a text of the user's own."""

from collections.abc import Sequence

from ...registry import Registry
from ..commands import Command, dispatch

EXPERIMENTS: Registry[Command] = Registry(
    "experiment",
    {
        "masking": Command(
            "textdiffusion.cli.explore.masking", "See what stays visible at each noise level."
        ),
        "schedules": Command("textdiffusion.cli.explore.schedules", "Compare what the step grids write."),
        "sampling": Command("textdiffusion.cli.explore.sampling", "Compare greedy, top-k and nucleus."),
        "temperature": Command("textdiffusion.cli.explore.temperature", "Compare three temperatures."),
        "noise": Command("textdiffusion.cli.explore.noise", "See what Gaussian noise makes of tokens."),
        "training": Command("textdiffusion.cli.explore.training", "See how a training went."),
        "layers": Command("textdiffusion.cli.explore.layers", "See what each layer would write in a hole."),
    },
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Run the experiment that `argv` begins with."""
    return dispatch(prog, "See how diffusion works on a text of your own.", EXPERIMENTS, argv)
