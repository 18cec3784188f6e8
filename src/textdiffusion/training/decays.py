"""How the learning rate rises and falls over the steps of a training, by name."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from ..errors import SettingsError
from ..registry import Registry


class Decay(ABC):
    """Rise and fall of the learning rate; each group of parameters keeps its own peak."""

    @abstractmethod
    def scheduler(self, optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
        """What moves the rates of an optimiser, whose present ones are the peaks, once per optimiser step.

        `steps` is the length of the training and `warmup` the share of them in which the rate rises.
        """


@dataclass(frozen=True)
class OneCycle(Decay):
    """From a fraction of the peak up to it, and down to a far smaller one, by cosines (arXiv:1708.07120).

    The rates are those of torch's OneCycleLR in two phases. That one keeps the number of steps with its
    state, so that a longer training could not go on from a finished one, and fails where the rise takes
    exactly one step.
    """

    div_factor: float = 25.0
    """The peak over the first rate."""
    final_div_factor: float = 1e4
    """The first rate over the last."""

    def __post_init__(self) -> None:
        """Refuse what would not rise and fall.

        Raises:
            SettingsError: a factor below 1 or without end.
        """
        for name, factor in vars(self).items():
            if not 1.0 <= factor < math.inf:
                raise SettingsError(f"decay_settings.{name} is {factor}; it must be at least 1.")

    def share(self, step: int, steps: int, warmup: float) -> float:
        """The rate of a step, counted from 0, as a share of the peak."""
        first = 1.0 / self.div_factor
        top, end = warmup * steps - 1, steps - 1
        if step < top:
            return _between(first, 1.0, step / top)
        return _between(1.0, first / self.final_div_factor, min(1.0, (step - top) / (end - top)))

    def scheduler(self, optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: self.share(step, steps, warmup))


def _between(start: float, end: float, way: float) -> float:
    """On the half wave of a cosine from `start` to `end`, when `way` of the way is done."""
    return end + (start - end) * (1.0 + math.cos(math.pi * way)) / 2.0


def _of_transformers(name: str) -> type[Decay]:
    @dataclass(frozen=True)
    class Named(Decay):
        """One of transformers' schedules: a straight line up, and down by its name."""

        def scheduler(self, optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
            made: LambdaLR = get_scheduler(name, optimizer, math.ceil(warmup * steps), steps)
            return made

    return Named


DECAYS: Registry[type[Decay]] = Registry(
    "decay",
    {
        "cosine": _of_transformers("cosine"),
        "one-cycle": OneCycle,
        "linear": _of_transformers("linear"),
        "polynomial": _of_transformers("polynomial"),
        "inverse-sqrt": _of_transformers("inverse_sqrt"),
        "cosine-with-restarts": _of_transformers("cosine_with_restarts"),
        "constant-with-warmup": _of_transformers("constant_with_warmup"),
        "constant": _of_transformers("constant"),
    },
)
