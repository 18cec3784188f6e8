"""What a step takes back: each policy picks positions of the window that become noise again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..randomness import RowGenerator, random_subset
from ..shapes import Where
from .answer import Answer, top
from .base import State
from .limits import check_share
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

    def ask(self, state: State) -> Where:
        """Written positions that the network is asked about; none where the choice is blind to its answer."""
        return torch.zeros_like(state.window)

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


@dataclass(frozen=True)
class LeastSure(Reopen):
    """Exactly the share of positions that the noise rate says, the least probable tokens first."""

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        return top(state.window, -state.confidence, allowed(state, writing.moment.after))


@dataclass(frozen=True)
class Doubted(Reopen):
    """Tokens that have become improbable in the present text, the least probable first.

    At most as many as writing is ahead of the grid: what certainty saves is spent on correction, and the
    steps that were asked for suffice. A text is done when nothing in it is open.
    """

    restless = False
    remask_threshold: float = 0.3
    """Probability below which a written token is taken back, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        check_share("remask_threshold", self.remask_threshold)

    def ask(self, state: State) -> Where:
        return state.window & state.settled & state.open.any(1, keepdim=True)

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        if writing.answer is None:
            return torch.zeros_like(state.window)
        doubt = writing.answer.doubt()
        doubted = self.ask(writing.answer.state) & ~writing.where & (doubt > 1.0 - self.remask_threshold)
        ahead = allowed(state, writing.moment.after) - state.open.sum(1)
        return top(doubted, doubt, ahead)
