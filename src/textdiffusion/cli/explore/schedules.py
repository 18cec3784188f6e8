"""`textdiffusion explore schedules`: the learning guide's second experiment."""

from collections.abc import Sequence

from ...evaluation.experiment import LIKELIHOOD, Expectation, Experiment, least, most
from .trial import CUTS, explore

SCHEDULES = Experiment(
    about="Continue one prompt by each of the guide's step grids.",
    prompt="Machine learning is",
    story="The little fox was",
    ways={name: {"schedule": name, **CUTS} for name in ("linear", "cosine", "exponential")},
    expectations=(
        Expectation(
            "cosine writes best: its texts are the likeliest, in nats per token",
            least(LIKELIHOOD, "cosine", ("linear", "exponential")),
        ),
        Expectation(
            "exponential is the most creative: most pairs of tokens differ",
            most("distinct_2", "exponential", ("linear", "cosine")),
        ),
    ),
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Make the experiment."""
    return explore(prog, argv, SCHEDULES)
