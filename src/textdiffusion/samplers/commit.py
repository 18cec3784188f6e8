"""What a step writes: each policy picks positions, blind or by what the network says there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..randomness import RowGenerator, random_subset
from ..shapes import Where
from .answer import Answer, falling, top
from .base import Finished, State, at_rest, complete
from .limits import check_not_negative, check_share
from .moment import WHICH, Moment, noise

_BY_DRAW = "where it writes hangs on the tokens that are drawn"
_AGAIN = "it writes places more than once"


class Commit(ABC):
    """Which positions of the window are written."""

    many_paths: str = "where it writes is left to chance"
    """Why a text can come about in many ways; empty where the visible text alone says what is next."""
    keeps: bool = True
    """Whether only open places are written, so that a written token stays unless it is taken back."""
    rewrites: bool = False
    """Whether all that may be written is, so that written tokens which it asks about change together."""

    @abstractmethod
    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        """Positions that may be written; a rule blind to the answer names just what it will write."""

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        """Which of them are written, given what the network says there."""
        return wanted

    def finished(self, before: State, after: State) -> Finished:
        """Texts in which no later step would write anything, after the step from `before` to `after`."""
        return complete(before, after)


@dataclass(frozen=True)
class Everything(Commit):
    """Write the whole window anew, settled positions too."""

    many_paths = _AGAIN
    keeps = False
    rewrites = True

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.window


@dataclass(frozen=True)
class EveryOpen(Commit):
    """Every open position; what has settled stays."""

    many_paths = ""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open


@dataclass(frozen=True)
class EachAtRandom(Commit):
    """Each open position by itself, with the probability that the reverse process gives it.

    Positions are chosen before the call and none is made when nothing is due, so that no answer is ever
    asked for twice: MDLM's cache of unchanged answers (arXiv:2406.07524) would find nothing to save.
    """

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        chance = 1.0 - moment.goal / moment.before.clamp(min=1e-9)
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

    many_paths = _BY_DRAW

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return _open_if_due(state, moment)

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return top(wanted, answer.confidence, moment.due)


@dataclass(frozen=True)
class WidestMargin(Commit):
    """As many open positions as are due, first where one token is farthest ahead of all others."""

    many_paths = ""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return _open_if_due(state, moment)

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return top(wanted, answer.margin(), moment.due, equal=1e-4)


@dataclass(frozen=True)
class HighestPeak(Commit):
    """As many open positions as are due, first where the most probable token is, whichever is drawn."""

    many_paths = ""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return _open_if_due(state, moment)

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return top(wanted, answer.peak(), moment.due, equal=1e-5)


@dataclass(frozen=True)
class LowestEntropy(Commit):
    """As many open positions as are due, first where the network is least unsure."""

    many_paths = ""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return _open_if_due(state, moment)

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return top(wanted, -answer.entropy(), moment.due, equal=1e-5)


@dataclass(frozen=True)
class AboveThreshold(Commit):
    """Every open position whose token is probable enough; at least the surest one and what is due."""

    many_paths = _BY_DRAW

    threshold: float = 0.9
    """Probability from which a token is written, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        check_share("threshold", self.threshold)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        return _sure(wanted, answer, self.threshold, moment)


@dataclass(frozen=True)
class SureOrBetter(Commit):
    """As `AboveThreshold`, and written positions where the network is sure of another token.

    It goes on after the last mask, as long as steps are left, until a step changes nothing.
    """

    many_paths = _AGAIN
    keeps = False

    threshold: float = 0.7
    """Probability from which a token is written, from 0 to 1."""
    edit_threshold: float = 0.5
    """Probability above which another token takes the place of a written one, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse thresholds that are no probabilities."""
        check_share("threshold", self.threshold)
        check_share("edit_threshold", self.edit_threshold)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.window

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        text = answer.state
        other = wanted & text.settled & (answer.token != text.tokens)
        better = other & (answer.confidence > self.edit_threshold)
        return better | _sure(wanted & text.open, answer, self.threshold, moment)

    def finished(self, before: State, after: State) -> Finished:
        return at_rest(before, after)


@dataclass(frozen=True)
class SureTogether(Commit):
    """The n surest with (n + 1)(1 - confidence of the n-th) < factor; at least one and what is due.

    Up to factor 1 the tokens are then jointly the most probable ones too (arXiv:2505.22618, theorem 1).
    """

    many_paths = _BY_DRAW

    factor: float = 1.0
    """What the n-th confidence may lack, times n + 1; larger writes more at once."""

    def __post_init__(self) -> None:
        """Refuse a factor below 0."""
        check_not_negative("factor", self.factor)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        lack = 1.0 - falling(wanted, answer.confidence)
        number = torch.arange(1, lack.shape[1] + 1, device=lack.device)
        count = ((number + 1) * lack < self.factor).sum(1)
        return top(wanted, answer.confidence, count.maximum(moment.due.clamp(min=1)))


@dataclass(frozen=True)
class EntropyBounded(Commit):
    """The most positions whose entropies, without the largest, sum to gamma; at least one and what is due.

    The sum bounds how much the tokens can tell about each other (EB-Sampler, arXiv:2505.24857).
    """

    many_paths = ""

    gamma: float = 0.1
    """Nats that tokens written in one call may tell about each other."""

    def __post_init__(self) -> None:
        """Refuse a bound below 0."""
        check_not_negative("gamma", self.gamma)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        certainty = -answer.entropy()
        entropy = -falling(wanted, certainty)
        others = entropy.cumsum(1) - entropy  # nan behind the last wanted position, which is no <=
        count = (others <= self.gamma).sum(1)
        return top(wanted, certainty, count.maximum(moment.due.clamp(min=1)), equal=1e-5)


@dataclass(frozen=True)
class ByMeanConfidence(Commit):
    """The surest ones, an even share of what is open, times mean confidence / threshold; at least one."""

    many_paths = _BY_DRAW

    threshold: float = 0.7
    """Mean confidence of the open positions at which the share is even; more above it, fewer below."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability."""
        check_share("threshold", self.threshold)

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Where:
        return state.open

    def settle(self, wanted: Where, answer: Answer, moment: Moment) -> Where:
        number = wanted.sum(1)
        mean = answer.confidence.masked_fill(~wanted, 0.0).sum(1) / number.clamp(min=1)
        before, goal = (noise(answer.state, rate) for rate in (moment.before, moment.goal))
        even = number * (1.0 - goal / before.clamp(min=1e-9))
        # A little less, because the last digits of a mean hang on the rest of the batch.
        count = (even * mean / max(self.threshold, 1e-9) - 1e-4).ceil().long()
        return top(wanted, answer.confidence, torch.where(goal > 0.0, count.clamp(min=1), number))


def _open_if_due(state: State, moment: Moment) -> Where:
    return state.open & (moment.due > 0)[:, None]


def _sure(among: Where, answer: Answer, threshold: float, moment: Moment) -> Where:
    """Those above the threshold, at least the surest one and what is due."""
    surest = top(among, answer.confidence, moment.due.clamp(min=1))
    return among & (answer.confidence >= threshold) | surest
