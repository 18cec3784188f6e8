"""What a step takes back: each policy picks positions of the window that become noise again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch

from ..corruptions import Corruption
from ..randomness import RowGenerator, random_subset
from ..shapes import Where
from .answer import Answer, top
from .base import Finished, State, at_rest
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

    beyond: bool = False
    """Whether it may strike before the window as well, in blocks that are finished.

    What an exact cache remembers of these was read for the last time, so that the two exclude each other. All
    other rules keep to the window, which is read anew at every call: with them the cache stays exact.
    """

    keeps: bool = False
    """Whether what is written stays."""
    many_paths: str = "it takes tokens back"
    """Why a text can come about in more than one way; empty where nothing is taken back."""

    def ask(self, state: State, moment: Moment) -> Where:
        """Written positions that the network is asked about; none where the choice is blind to its answer."""
        return torch.zeros_like(state.window)

    def chance(self, before: Rates, after: Rates) -> Rates:
        """Chance of each written token to be taken back, for which writing makes up in advance."""
        return torch.zeros_like(after)

    @abstractmethod
    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        """Positions of the window to take back, after `writing` has gone into `state`."""

    def finished(self, before: State, after: State) -> Finished:
        """Texts from which no later step would take anything back; none where it is left to chance."""
        return torch.zeros_like(after.window[:, 0])

    def take_back(
        self, state: State, writing: Writing, corruption: Corruption, generator: RowGenerator
    ) -> State:
        """The state with noise where `choose` says, inside the window unless the rule goes `beyond`."""
        back = self.choose(state, writing, generator)
        back = back if self.beyond else back & state.window
        return replace(
            state,
            tokens=torch.where(back, corruption.noise(state.tokens, generator), state.tokens),
            confidence=state.confidence.masked_fill(back, torch.nan),
            settled=state.settled & ~back,
        )


@dataclass(frozen=True)
class Nothing(Reopen):
    """What is written stays."""

    keeps = True
    many_paths = ""

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        return torch.zeros_like(state.window)

    def finished(self, before: State, after: State) -> Finished:
        return torch.ones_like(after.window[:, 0])

    def take_back(
        self, state: State, writing: Writing, corruption: Corruption, generator: RowGenerator
    ) -> State:
        return state


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
    steps that were asked for suffice. A text without masks is looked at once more, and is done when nothing
    in it is doubted.
    """

    remask_threshold: float = 0.3
    """Probability below which a written token is taken back, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        check_share("remask_threshold", self.remask_threshold)

    def ask(self, state: State, moment: Moment) -> Where:
        any_may_go = allowed(state, moment.after) > 0
        return state.window & state.settled & any_may_go[:, None]

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        if writing.answer is None:
            return torch.zeros_like(state.window)
        doubt = writing.answer.doubt()
        asked = self.ask(writing.answer.state, writing.moment)
        doubted = asked & ~writing.where & (doubt > 1.0 - self.remask_threshold)
        ahead = allowed(state, writing.moment.after) - state.open.sum(1)
        return top(doubted, doubt, ahead)

    def finished(self, before: State, after: State) -> Finished:
        return at_rest(before, after)
