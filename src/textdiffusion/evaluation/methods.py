"""Ways to measure -log p, by name, with all settings that any of them has."""

from collections.abc import Callable
from dataclasses import dataclass

from ..generation import Decoding
from ..objectives import Nelbo
from ..registry import Registry
from .duel import Duel
from .likelihood import Bound, Method


@dataclass(frozen=True)
class Scoring:
    """How -log p is measured."""

    method: str = "bound"
    """bound (by counts or blocks, or exact, as the network allows), bound-time, or duel, a sampler's own."""
    samples: int = Bound.samples
    """Draws of noise for each text, for a bound."""
    antithetic: bool = Bound.antithetic
    """Draw them in pairs that mask what the other one shows; --no-antithetic draws each by itself."""
    sampler: str = "margin"
    """Sampler whose likelihood duel measures."""
    steps: int | None = None
    """Its steps for each text or window; by --tokens-per-step when left out."""
    tokens_per_step: int = Decoding.tokens_per_step
    """Tokens that it writes in a step."""
    block_size: int | None = None
    """Tokens that it writes from left to right; all at once, or as the network was trained, when left out."""

    def __post_init__(self) -> None:
        """Refuse now what would be refused later.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        self.chosen()

    def chosen(self) -> Method:
        """The method with its settings."""
        return METHODS[self.method](self)

    def decoding(self) -> Decoding:
        """How the sampler writes."""
        options = ("sampler", "steps", "tokens_per_step", "block_size")
        return Decoding().changed({name: self.__dict__[name] for name in options})


METHODS: Registry[Callable[[Scoring], Method]] = Registry(
    "method",
    {
        "bound": lambda asked: Bound(asked.samples, asked.antithetic),
        "bound-time": lambda asked: Bound(asked.samples, asked.antithetic, Nelbo()),
        "duel": lambda asked: Duel(asked.decoding()),
    },
)
