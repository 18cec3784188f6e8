"""`textdiffusion explore sampling`: the learning guide's third experiment."""

from collections.abc import Sequence

from ...evaluation.experiment import DIFFERENT, Expectation, Experiment, least, most
from .trial import CUTS, explore

SAMPLING = Experiment(
    about="Continue one prompt greedily, from the top k tokens, and from the nucleus.",
    prompt="The future of artificial intelligence",
    story="One day the old king",
    ways={
        "greedy": {**CUTS, "temperature": 0.0, "top_k": 0},
        "top-k": CUTS,
        "nucleus": {**CUTS, "top_k": 0, "top_p": 0.9},
    },
    expectations=(
        Expectation(
            "greedy can be repeated: fewer of its texts differ",
            least(DIFFERENT, "greedy", ("top-k", "nucleus")),
        ),
        Expectation(
            "greedy repeats itself: more of its 3-grams stood there before",
            most("repeated_3_grams", "greedy", ("top-k", "nucleus")),
        ),
    ),
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Make the experiment."""
    return explore(prog, argv, SAMPLING)
