"""How much of each training text is hidden: distributions of the mask rate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SettingsError
from .registry import Registry


class MaskRates(ABC):
    """A distribution over the share of editable tokens that is hidden, given by its quantile function."""

    @abstractmethod
    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The rate below which a share `u` in [0, 1) of the texts lies; even `u` give an even spread."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Expected rate; the flat cross-entropy is divided by it."""


@dataclass(frozen=True)
class UniformRates(MaskRates):
    """Any rate in [low, high] alike; (0.15, 0.99) is the range of BERT fine-tunes for chat."""

    low: float = 1e-3
    """Lowest rate, at least 0."""
    high: float = 1.0
    """Highest rate, at most 1."""

    def __post_init__(self) -> None:
        """Refuse bounds outside 0 <= low <= high <= 1 and the distribution that hides nothing."""
        if not 0.0 <= self.low <= self.high <= 1.0 or self.high == 0.0:
            raise SettingsError(
                f"mask rates from {self.low} to {self.high}: they must satisfy 0 <= low <= high <= 1 and "
                "high > 0."
            )

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.low + (self.high - self.low) * u

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class StepRates(MaskRates):
    """The rates 1/count, 2/count, ..., 1 alike; 10 as in the ten-step BERT diffusions."""

    count: int = 10
    """Number of levels, at least 1."""

    def __post_init__(self) -> None:
        """Refuse a count below one."""
        if self.count < 1:
            raise SettingsError(f"mask rates in {self.count} steps: at least 1 step is needed.")

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return ((u * self.count).floor() + 1.0).clamp(max=self.count) / self.count

    @property
    def mean(self) -> float:
        return (self.count + 1) / (2 * self.count)


@dataclass(frozen=True)
class WeightedRates(MaskRates):
    """Any list of rates, each with its weight; the weights need not sum to 1."""

    rates: tuple[float, ...] = (0.5,)
    """Rates in (0, 1]."""
    weights: tuple[float, ...] = (1.0,)
    """One weight a rate, none negative."""

    def __post_init__(self) -> None:
        """Refuse lists that are no distribution."""
        if not self.rates or len(self.rates) != len(self.weights):
            raise SettingsError(
                f"weighted mask rates: {len(self.rates)} rates and {len(self.weights)} weights; "
                "give one weight a rate."
            )
        if min(self.weights) < 0.0 or sum(self.weights) <= 0.0 or not all(0.0 < r <= 1.0 for r in self.rates):
            raise SettingsError(
                f"weighted mask rates {self.rates} with weights {self.weights}: rates lie in (0, 1], "
                "weights are not negative and not all 0."
            )

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        weights = torch.tensor(self.weights, dtype=torch.float64, device=u.device)
        edges = (weights / weights.sum()).cumsum(0)
        index = torch.searchsorted(edges, u.double().contiguous(), right=True).clamp(max=len(self.rates) - 1)
        return torch.tensor(self.rates, dtype=u.dtype, device=u.device)[index]

    @property
    def mean(self) -> float:
        return sum(r * w for r, w in zip(self.rates, self.weights, strict=True)) / sum(self.weights)


MASK_RATES: Registry[type[MaskRates]] = Registry(
    "mask rate", {"uniform": UniformRates, "steps": StepRates, "weighted": WeightedRates}
)
