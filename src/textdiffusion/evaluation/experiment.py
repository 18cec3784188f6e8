"""Ways of decoding held against each other on one prompt, and whether what was expected of them held."""

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..generation import Decoding
from ..language_model import DiffusionLM
from .likelihood import nelbo
from .variety import distinct_n, repetition, token_entropy

LIKELIHOOD, DIFFERENT = "nats_per_token", "different_texts"
"""What the model bounds its own text by, given the prompt; and how many of the texts differ, as a share."""
_OF_IDS: Mapping[str, Callable[[Sequence[int]], float]] = {
    "distinct_1": lambda ids: distinct_n([ids], 1),
    "distinct_2": lambda ids: distinct_n([ids], 2),
    "repeated_3_grams": repetition,
    "token_entropy": token_entropy,
    "tokens": lambda ids: float(len(ids)),
}
FIGURES = (LIKELIHOOD, *_OF_IDS, DIFFERENT)
"""What is measured of each way of decoding; all of tokens, not of words."""
_REACH = 2.0
"""Standard errors to either side of a mean that make its interval."""


@dataclass(frozen=True)
class Figure:
    """A mean over texts."""

    mean: float
    """nan where there was nothing to measure."""
    error: float | None
    """Its standard error, 0 for what was counted; None where there was but one text."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """The mean of the values that are numbers."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return cls(math.nan, None)
        error = statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
        return cls(statistics.fmean(known), error)

    def below(self, other: "Figure") -> bool | None:
        """Whether it lies below the other one, or above; None where their intervals meet."""
        if self.error is None or other.error is None:
            return None
        apart = _REACH * (self.error + other.error)
        if other.mean - self.mean > apart:
            return True
        return False if self.mean - other.mean > apart else None


@dataclass(frozen=True)
class Outcome:
    """What came of one way."""

    texts: tuple[str, ...]
    """Continuations without the prompt, one for each seed."""
    figures: Mapping[str, Figure]
    """By the names of `FIGURES`."""


@dataclass(frozen=True)
class Claim:
    """That of one figure one way has less than another."""

    figure: str
    less: str
    more: str

    def holds(self, outcomes: Mapping[str, Outcome]) -> bool | None:
        """Whether it does; None where the two cannot be told apart."""
        return outcomes[self.less].figures[self.figure].below(outcomes[self.more].figures[self.figure])


@dataclass(frozen=True)
class Expectation:
    """A finding that was foretold, as claims that must all hold."""

    words: str
    claims: tuple[Claim, ...]

    def holds(self, outcomes: Mapping[str, Outcome]) -> bool | None:
        """True if every claim does, False if one is contradicted, None where it cannot be told."""
        found = [claim.holds(outcomes) for claim in self.claims]
        return False if False in found else (None if None in found else True)


@dataclass(frozen=True)
class Experiment:
    """Ways of decoding to compare, and what is expected of them."""

    about: str
    """In one line."""
    prompt: str
    """As it was published."""
    story: str
    """In its place for a model that knows stories alone."""
    ways: Mapping[str, Mapping[str, Any]]
    """Options of the decoding by the name of each way."""
    expectations: tuple[Expectation, ...]


def least(figure: str, way: str, others: Sequence[str]) -> tuple[Claim, ...]:
    """The claims that one way has less of a figure than each of the others."""
    return tuple(Claim(figure, way, other) for other in others)


def most(figure: str, way: str, others: Sequence[str]) -> tuple[Claim, ...]:
    """The claims that one way has more of a figure than each of the others."""
    return tuple(Claim(figure, other, way) for other in others)


def outcome(
    lm: DiffusionLM, prompt: str, decoding: Decoding, *, length: int, seeds: Sequence[int], draws: int
) -> Outcome:
    """Write a text for each seed and measure them; `draws` of noise bound the likelihood of each.

    Raises:
        SettingsError, IncompatibleError: see `DiffusionLM.continuation` and `denoise`.
    """
    task = lm.continuation([prompt] * len(seeds), length=length, seeds=seeds, decoding=decoding)
    texts = lm.results(task, list(deque(lm.stream(task), maxlen=1)))
    given, rows = lm.format.prompt(prompt), [text.token_ids for text in texts]
    figures = {LIKELIHOOD: Figure.of([own_nats(lm, given, row, draws) for row in rows])}
    figures |= {name: Figure.of([measure(row) for row in rows]) for name, measure in _OF_IDS.items()}
    share = len({tuple(row) for row in rows}) / len(rows)
    figures[DIFFERENT] = Figure(share, 0.0 if len(rows) > 1 else None)
    return Outcome(tuple(text.text for text in texts), figures)


def own_nats(lm: DiffusionLM, given: Sequence[int], written: Sequence[int], draws: int) -> float:
    """The bound of a model on what it wrote itself, given the prompt, in nats per token; nan for no token.

    What repeats itself is likely too: read it beside a figure of variety.
    """
    if not written:
        return math.nan
    tokens = torch.tensor([[*given, *written]], device=lm.model.device)
    new = torch.zeros_like(tokens, dtype=torch.bool)
    new[:, len(given) :] = True
    found = nelbo(lm.denoiser, tokens, mask_id=lm.format.mask_id, samples=draws, editable=new)
    return float(found.mean) / len(written)
