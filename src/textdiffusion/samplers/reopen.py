"""What a step takes back: each policy picks positions of the window that become noise again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..randomness import RowGenerator, random_subset
from ..shapes import Where
from .answer import Answer
from .base import State
from .moment import BACK, Moment, Rates, allowed


@dataclass(frozen=True)
class Writing:
    """What a step has written before it takes anything back."""

    moment: Moment
    where: Where
    answer: Answer | None
    """None when the network was not asked."""


class Reopen(ABC):
    """Which written positions become noise again after the step."""

    restless: bool = True
    """Whether it takes back from texts in which nothing is open; otherwise these are finished."""

    def chance(self, before: Rates, after: Rates) -> Rates:
        """Chance of each written token to be taken back, for which writing makes up in advance."""
        return torch.zeros_like(after)

    @abstractmethod
    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        """Positions of the window to take back, after `writing` has gone into `state`."""


@dataclass(frozen=True)
class Nothing(Reopen):
    """What is written stays."""

    restless = False

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        return torch.zeros_like(state.window)


@dataclass(frozen=True)
class EachByRate(Reopen):
    """Every position by itself, with the noise rate as its probability."""

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        rate = writing.moment.after
        return state.window & (generator.uniform(state.tokens.shape[1], BACK).to(rate) < rate)


@dataclass(frozen=True)
class ExactByRate(Reopen):
    """Exactly the share of positions that the noise rate says, rounded down, chosen at random."""

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        counts = allowed(state, writing.moment.after)
        return random_subset(state.window, counts, generator.uniform(state.tokens.shape[1], BACK))
