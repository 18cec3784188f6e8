"""What a step writes: each policy picks positions, blind or by what the network says there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..randomness import RowGenerator, random_subset
from ..shapes import Where
from .answer import Answer, top
from .base import State
from .limits import check_share
from .moment import WHICH, Moment


class Commit(ABC):
    """Which positions of the window are written."""

    @abstractmethod
    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        """Positions that may be written; a rule blind to the answer names just what it will write."""

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        """Which of them are written, given what the network says there."""
        return wanted


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
        return _open_if_due(state, moment)

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return top(wanted, answer.confidence, moment.due)


@dataclass(frozen=True)
class AboveThreshold(Commit):
    """Every open position whose token is probable enough; at least the surest one and what is due."""

    threshold: float = 0.9
    """Probability from which a token is written, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        check_share("threshold", self.threshold)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        sure = wanted & (answer.confidence >= self.threshold)
        return sure | top(wanted, answer.confidence, moment.due.clamp(min=1))


def _open_if_due(state: State, moment: Moment) -> Where:
    return state.open & (moment.due > 0)[:, None]
