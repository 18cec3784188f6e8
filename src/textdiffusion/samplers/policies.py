"""The small choices that published samplers differ in: which positions to write, and which to take back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..corruptions import Corruption
from ..errors import SettingsError
from ..randomness import RowGenerator, random_subset
from ..shapes import PerToken, Times, Where
from .base import State

WHICH, WHAT, BACK = 0, 5, 6
"""Draws of one step: which positions are written, what they become, which are taken back.

They differ from the draws that a corruption makes itself (1 and 2), so that no number is used twice.
"""


@dataclass(frozen=True)
class Moment:
    """Where a step stands between noise and text."""

    before: Float[Tensor, "batch 1"]
    """Noise rate before the step, 1 - alpha(t)."""
    after: Float[Tensor, "batch 1"]
    """Noise rate after it, 1 - alpha(s); 0 after the last step."""
    due: Int[Tensor, " batch"]
    """Open positions in excess of what the rate after the step allows: those the grid wants written now."""

    @classmethod
    def of(cls, state: State, s: Times, t: Times, corruption: Corruption) -> "Moment":
        """The moment between times s < t."""
        before, after = 1.0 - corruption.schedule.alpha(t), 1.0 - corruption.schedule.alpha(s)
        after = after.masked_fill(s == 0.0, 0.0)  # a schedule may leave some noise at 0, a text may not
        due = state.open.sum(1) - allowed(state, after)
        return cls(before, after, due.clamp(min=0))


def allowed(state: State, rate: Float[Tensor, "batch 1"]) -> Int[Tensor, " batch"]:
    """How many positions of the window may be noise at this rate, rounded down."""
    return (rate[:, 0] * state.window.sum(1) + 1e-6).floor().long()


class Commit(ABC):
    """Which positions of the window are written."""

    @abstractmethod
    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        """Positions that the network is asked about; a rule blind to the answer asks what it will write."""

    def settle(self, asked: Where, confidence: PerToken, moment: Moment) -> Where:
        """Which of the asked positions are written, given the probability of each drawn token."""
        return asked


@dataclass(frozen=True)
class Everything(Commit):
    """Write the whole window anew, settled positions too."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.window


@dataclass(frozen=True)
class EveryOpen(Commit):
    """Every open position; what has settled stays."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open


@dataclass(frozen=True)
class EachAtRandom(Commit):
    """Each open position by itself, with the probability that the reverse process gives it."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        chance = 1.0 - moment.after / moment.before
        drawn = generator.uniform(state.tokens.shape[1], WHICH).to(chance)
        return state.open & (drawn < chance)


@dataclass(frozen=True)
class SomeAtRandom(Commit):
    """As many open positions as are due, every choice of them equally likely."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return random_subset(state.open, moment.due, generator.uniform(state.tokens.shape[1], WHICH))


@dataclass(frozen=True)
class Surest(Commit):
    """As many open positions as are due, the most probable token first."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open & (moment.due > 0)[:, None]

    def settle(self, asked: Where, confidence: PerToken, moment: Moment) -> Where:
        return _surest(asked, confidence, moment.due)


@dataclass(frozen=True)
class AboveThreshold(Commit):
    """Every open position whose token is probable enough; at least the surest one and what is due."""

    threshold: float = 0.9
    """Probability from which a token is written, in (0, 1]."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        if not 0.0 < self.threshold <= 1.0:
            raise SettingsError(f"threshold {self.threshold} must lie above 0 and at most at 1.")

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, asked: Where, confidence: PerToken, moment: Moment) -> Where:
        return asked & (confidence >= self.threshold) | _surest(asked, confidence, moment.due.clamp(min=1))


class Reopen(ABC):
    """Which written positions become noise again after the step."""

    @abstractmethod
    def choose(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        """Positions of the window to take back."""


@dataclass(frozen=True)
class Nothing(Reopen):
    """What is written stays."""

    def choose(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return torch.zeros_like(state.window)


@dataclass(frozen=True)
class EachByRate(Reopen):
    """Every position by itself, with the noise rate as its probability."""

    def choose(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        drawn = generator.uniform(state.tokens.shape[1], BACK).to(moment.after)
        return state.window & (drawn < moment.after)


@dataclass(frozen=True)
class ExactByRate(Reopen):
    """Exactly the share of positions that the noise rate says, rounded down, chosen at random."""

    def choose(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        counts = allowed(state, moment.after)
        return random_subset(state.window, counts, generator.uniform(state.tokens.shape[1], BACK))


def _surest(among: Where, confidence: PerToken, count: Int[Tensor, " batch"]) -> Where:
    """The `count` positions of highest confidence; of equals the first, whatever the sort.

    Rounded, because positions that see the same (all masks, say) differ by the network's rounding errors
    alone, and those hang on the rest of the batch.
    """
    keys = confidence.round(decimals=5).masked_fill(~among, -1.0)
    rank = keys.argsort(dim=1, descending=True, stable=True).argsort(1)
    return among & (rank < count[:, None])
