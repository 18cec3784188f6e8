"""One step backwards in time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

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

    @property
    def open(self) -> Where:
        """Positions of the window that are still noise."""
        return self.window & ~self.settled


class Sampler(ABC):
    """A rule that turns x_t into x_s for s < t; frozen, without memory of its own."""

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

        It calls `predict` at most as often as it must: not at all when nothing would be written.
        """

    @abstractmethod
    def finished(self, state: State) -> bool:
        """Whether no later step would change anything."""

    @abstractmethod
    def check(self, corruption: Corruption) -> None:
        """Raise IncompatibleError if the rule has no meaning for this corruption."""
