"""Completion of texts with blanks, under the published protocol and a corrected one."""

from collections.abc import Callable
from dataclasses import dataclass

from ...registry import Registry
from .counting import constant, n_gram, n_gram_both, unigram
from .networks import autoregressive, autoregressive_both, diffusion
from .solvers import Solver, Subject


@dataclass(frozen=True)
class Way:
    """A row of the table of solvers."""

    make: Callable[[Subject], Solver | None]
    """The solver, or None where it has no meaning for the model, or nothing to count."""
    summary: str
    of_network: bool = False
    """Whether there is one for each model; else it counts training text, as the first model's tokens."""
    suffix: str = ""
    """What it adds to the name of a model."""


SOLVERS: Registry[Way] = Registry(
    "solver",
    {
        "diffusion": Way(diffusion, "all blanks together, in sight of all that is shown", of_network=True),
        "autoregressive": Way(
            autoregressive, "from left to right, in sight of what stands before alone", of_network=True
        ),
        "autoregressive-both": Way(
            autoregressive_both,
            "from left to right, the likeliest tokens weighed by the likelihood of what stands behind",
            of_network=True,
            suffix=", both sides",
        ),
        "constant": Way(constant, "the most frequent token of the training text, everywhere"),
        "unigram": Way(unigram, "tokens as often as they occur in the training text"),
        "n-gram": Way(n_gram, "what follows the tokens before, in the training text"),
        "n-gram-both": Way(n_gram_both, "what stands between the tokens before and behind"),
    },
)

__all__ = ["SOLVERS", "Way"]
