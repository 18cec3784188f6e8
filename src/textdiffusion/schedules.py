"""Noise schedules (how the chance of a token being clean falls with time) and grids of sampling steps."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SettingsError
from .randomness import move
from .registry import Registry


class NoiseSchedule(ABC):
    """alpha(t), the chance that a token is still clean at time t; falls from 1 at t = 0 to 0 at t = 1."""

    @abstractmethod
    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Survival probability at time t in [0, 1]."""

    @abstractmethod
    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative of alpha per unit of diffusion time; never positive."""

    @abstractmethod
    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which the survival probability is `alpha`, kept inside [0, 1]."""

    def weight(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Rate at which a noisy token becomes clean backwards in time, -alpha' / (1 - alpha).

        It is the weight of the cross-entropy in the bound (MDLM, arXiv:2406.07524 eq. 10); 1/t when linear.
        """
        wide = move(t, t.device)  # float32 has few digits left for the difference between 1 and alpha
        return (-self.alpha_prime(wide) / (1.0 - self.alpha(wide))).to(t.dtype)


@dataclass(frozen=True)
class Linear(NoiseSchedule):
    """alpha = 1 - t (LLaDA, arXiv:2502.09992)."""

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.0 - t

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -torch.ones_like(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (1.0 - alpha).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Cosine(NoiseSchedule):
    """alpha = 1 - cos(pi/2 (1 - t)) (MaskGIT, arXiv:2202.04200; MD4, arXiv:2406.04329)."""

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.0 - torch.cos(math.pi / 2 * (1.0 - t))

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1.0 - t))

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (1.0 - 2.0 / math.pi * torch.acos((1.0 - alpha).clamp(0.0, 1.0))).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Geometric(NoiseSchedule):
    """alpha = exp(-sigma), with a geometric sigma (SEDD, arXiv:2310.16834); almost 1 and 0 at its ends."""

    sigma_min: float = 1e-5
    """Total noise at t = 0; above 0."""
    sigma_max: float = 20.0
    """Total noise at t = 1; above `sigma_min`."""

    def __post_init__(self) -> None:
        """Refuse bounds that give no schedule."""
        if not 0.0 < self.sigma_min < self.sigma_max:
            raise SettingsError(
                f"geometric schedule: sigma_min {self.sigma_min} and sigma_max {self.sigma_max} must satisfy "
                "0 < sigma_min < sigma_max."
            )

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.exp(-self._sigma(t))

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -self._sigma(t) * math.log(self.sigma_max / self.sigma_min) * self.alpha(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        sigma = -torch.log(alpha.clamp(min=torch.finfo(alpha.dtype).tiny))
        ratio = torch.log(sigma.clamp(min=torch.finfo(alpha.dtype).tiny) / self.sigma_min)
        return (ratio / math.log(self.sigma_max / self.sigma_min)).clamp(0.0, 1.0)

    def _sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))


@dataclass(frozen=True)
class LogLinear(NoiseSchedule):
    """alpha = 1 - (1 - floor) t, i.e. a total noise of -log alpha (SEDD and MDLM, arXiv:2406.07524)."""

    floor: float = 1e-3
    """Survival probability left at t = 1, in [0, 1)."""

    def __post_init__(self) -> None:
        """Refuse a floor that leaves no noise."""
        if not 0.0 <= self.floor < 1.0:
            raise SettingsError(f"log-linear schedule: floor {self.floor} must be at least 0 and below 1.")

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.0 - (1.0 - self.floor) * t

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.full_like(t, self.floor - 1.0)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return ((1.0 - alpha) / (1.0 - self.floor)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Polynomial(NoiseSchedule):
    """alpha = 1 - t^power (MD4, arXiv:2406.04329); above 1 the text stays clean for longer."""

    power: float = 2.0
    """Exponent, above 0; 1 is linear."""

    def __post_init__(self) -> None:
        """Refuse an exponent that gives no schedule."""
        if not self.power > 0.0:
            raise SettingsError(f"polynomial schedule: power {self.power} must be above 0.")

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.0 - t**self.power

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -self.power * t ** (self.power - 1.0)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (1.0 - alpha).clamp(0.0, 1.0) ** (1.0 / self.power)


SCHEDULES: Registry[type[NoiseSchedule]] = Registry(
    "noise schedule",
    {
        "linear": Linear,
        "cosine": Cosine,
        "geometric": Geometric,
        "log-linear": LogLinear,
        "polynomial": Polynomial,
    },
)


@dataclass(frozen=True)
class StepGrid:
    """Share of the text that is noise before each of the sampling steps: the levels of a published ladder.

    Between the levels the ladder is straight, and after the last one it ends at 0, so that it gives any
    number of steps and exactly its own levels when there are as many steps as levels.
    """

    levels: tuple[float, ...]
    """Falling from 1; the closing 0 is left out."""
    summary: str
    """What the ladder is like, in a few words."""
    source: str
    """Where it comes from."""

    def rates(self, steps: int) -> Float[Tensor, " edges"]:
        """Noise rates [steps + 1] in float64, from 1 before the first step to 0 after the last.

        Raises:
            SettingsError: `steps` is below 1.
        """
        if steps < 1:
            raise SettingsError(f"steps is {steps}; it takes at least 1 step to turn noise into text.")
        table = torch.tensor([*self.levels, 0.0], dtype=torch.float64)
        place = torch.arange(steps + 1, dtype=torch.float64) * len(self.levels) / steps
        left = place.floor().long().clamp(max=len(self.levels) - 1)
        share = place - left
        return table[left] * (1.0 - share) + table[left + 1] * share


_GUIDE = "Text Diffusion Learning Guide"
STEP_GRIDS: Registry[StepGrid] = Registry(
    "step grid",
    {
        "linear": StepGrid((1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), "even steps", _GUIDE),
        "cosine": StepGrid(
            (1.0, 0.99, 0.95, 0.88, 0.76, 0.59, 0.38, 0.19, 0.05, 0.01),
            "slow at both ends, fast in the middle",
            _GUIDE,
        ),
        "exponential": StepGrid(
            (1.0, 0.74, 0.55, 0.41, 0.30, 0.22, 0.17, 0.12, 0.09, 0.07),
            "fast at the start, exp(-0.3 i)",
            _GUIDE,
        ),
        "maskgit": StepGrid(
            tuple(math.cos(math.pi / 2 * i / 64) for i in range(64)),
            "slow at the start, cos(pi u / 2)",
            "MaskGIT, arXiv:2202.04200",
        ),
    },
)
