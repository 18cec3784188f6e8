"""One step backwards in time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from ..corruptions import Corruption
from ..predictions import Predict
from ..randomness import RowGenerator
from ..shapes import PerToken, Times, Tokens, Where


@dataclass(frozen=True)
class State:
    """What a sampler carries from step to step; passed and returned, so that one serves many requests."""

    tokens: Tokens
    window: Where
    """Positions that this part of the run may write."""
    settled: Where
    """Positions that hold text; inside the window the others hold noise."""
    confidence: PerToken
    """Probability given to each token when it was written; nan where none was."""
    notes: object = None
    """What a rule wants to remember from step to step; the loop hands it on without a look."""

    @property
    def open(self) -> Where:
        """Positions of the window that are still noise."""
        return self.window & ~self.settled

    def to(self, device: torch.device) -> "State":
        """The same on another device."""
        tokens, window = self.tokens.to(device), self.window.to(device)
        return State(tokens, window, self.settled.to(device), self.confidence.to(device), self.notes)


Finished = Bool[Tensor, " batch"]
"""Texts that no later step of a window would change."""


def complete(before: State, after: State) -> Finished:
    """Nothing is open any more."""
    return ~after.open.any(1)


def at_rest(before: State, after: State) -> Finished:
    """Nothing is open any more, and the step has changed nothing."""
    same = (before.tokens == after.tokens) | ~after.window
    return same.all(1) & complete(before, after)


class Sampler(ABC):
    """A rule that turns x_t into x_s for s < t; frozen, without memory of its own."""

    @property
    def beyond(self) -> bool:
        """Whether a step may change what stands before its window, in blocks that are finished."""
        return False

    @property
    def any_noise(self) -> bool:
        """Whether it has a meaning for noise that cannot be seen; else the network's masks alone are used."""
        return False

    @property
    def rewrites(self) -> bool:
        """Whether all that it asks about takes the drawn token or noise, written tokens too.

        Else some of the written tokens that it asks about may stay as they are while others change, and a
        constraint lets them change only into what goes with all the others.
        """
        return False

    def keeps(self, corruption: Corruption) -> bool:
        """Whether a place that has settled stays as it is until the end."""
        return False

    @property
    def many_paths(self) -> str:
        """Why a text can come about in many ways; empty where the visible text alone says what is next.

        In the latter case its likelihood is exact (DUEL, arXiv:2603.01367).
        """
        return "what it writes where is left to chance"

    @abstractmethod
    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        """One step; leaves every position outside `state.window` alone, and nothing open when s is 0.

        (Only a rule that goes `beyond` the window may strike before it.)
        It calls `predict` at most as often as it must: not at all when nothing would be written.
        """

    @abstractmethod
    def finished(self, before: State, after: State) -> Finished:
        """Which texts are done, as told by the step that led from `before` to `after`."""

    @abstractmethod
    def check(self, corruption: Corruption) -> None:
        """Raise IncompatibleError if the rule has no meaning for this corruption."""
