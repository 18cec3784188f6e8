"""`textdiffusion explore temperature`: the learning guide's fourth experiment."""

from collections.abc import Sequence

from ...evaluation.experiment import LIKELIHOOD, Claim, Expectation, Experiment
from .trial import CUTS, explore

TEMPERATURE = Experiment(
    about="Continue one prompt at three temperatures.",
    prompt="Scientists have discovered",
    story="The children have discovered",
    ways={name: {**CUTS, "temperature": float(name)} for name in ("0.3", "0.7", "1.2")},
    expectations=(
        Expectation(
            "the hotter, the more varied: the entropy of the tokens grows",
            (Claim("token_entropy", "0.3", "0.7"), Claim("token_entropy", "0.7", "1.2")),
        ),
        Expectation(
            "0.5 to 0.8 is best: 0.7 repeats itself less than 0.3 and is likelier than 1.2",
            (Claim("repeated_3_grams", "0.7", "0.3"), Claim(LIKELIHOOD, "0.7", "1.2")),
        ),
    ),
)


def run(prog: str, argv: Sequence[str]) -> int:
    """Make the experiment."""
    return explore(prog, argv, TEMPERATURE)
