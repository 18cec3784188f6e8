"""`textdiffusion evaluate`: what a model costs and what it is worth."""

from collections.abc import Sequence

from ...registry import Registry
from ..commands import Command, dispatch

MEASUREMENTS: Registry[Command] = Registry(
    "measurement",
    {
        "likelihood": Command(
            "textdiffusion.cli.evaluate.likelihood", "Measure perplexity and bits per byte of text."
        ),
        "infill": Command(
            "textdiffusion.cli.evaluate.infill", "Hide parts of texts, and see who fills them."
        ),
        "poems": Command("textdiffusion.cli.evaluate.poems", "Complete poems, as published and put right."),
        "generation": Command(
            "textdiffusion.cli.evaluate.generation", "Judge what a model writes, against its cost."
        ),
        "revise": Command(
            "textdiffusion.cli.evaluate.revise", "Damage texts, and count what a revision restores."
        ),
        "calibration": Command(
            "textdiffusion.cli.evaluate.calibration",
            "Compare how sure a model is with how often it is right.",
        ),
        "speed": Command("textdiffusion.cli.evaluate.speed", "Time samplers, caches and a baseline."),
        "length": Command("textdiffusion.cli.evaluate.length", "Study how well a model knows its lengths."),
        "choices": Command("textdiffusion.cli.evaluate.choices", "Ask questions that have right answers."),
    },
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Make the measurement that `argv` begins with."""
    return dispatch(prog, "Measure what a model costs and what it is worth.", MEASUREMENTS, argv)
