"""How fast the noise falls where: a pace turns the time of a text into that of each of its positions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..schedules import NoiseSchedule
from ..shapes import Times, Where
from .limits import check_not_negative
from .moment import Rates


class Pace(ABC):
    """Times of the positions of a window; never later than before, 1 at time 1 and 0 at time 0."""

    @abstractmethod
    def __call__(self, time: Float[Tensor, "batch 1"], window: Where, schedule: NoiseSchedule) -> Times:
        """The time of the whole text, or of each position, at the time that the grid of steps gives."""


@dataclass(frozen=True)
class Even(Pace):
    """The same time everywhere."""

    def __call__(self, time: Float[Tensor, "batch 1"], window: Where, schedule: NoiseSchedule) -> Times:
        return time


@dataclass(frozen=True)
class LeftFirst(Pace):
    """A position at the share x of its window, 0 left and 1 right, has rate + slope (rate - 1 + x) of noise.

    Kept inside [0, 1]: the left end is text once the rate is down to slope / (1 + slope). From slope 1 on
    the right end is all noise until then.
    """

    slope: float = 1.0
    """How far the left is ahead; 0 keeps all together, a large one writes from left to right."""

    def __post_init__(self) -> None:
        """Refuse a slope that would lead the right."""
        check_not_negative("slope", self.slope)

    def __call__(self, time: Float[Tensor, "batch 1"], window: Where, schedule: NoiseSchedule) -> Times:
        rate = 1.0 - schedule.alpha(time)
        left = (window.cumsum(1) - 1).clamp(min=0).to(rate)
        place = left / (window.sum(1, keepdim=True) - 1).clamp(min=1)
        return at_rate(rate + self.slope * (rate - 1.0 + place), time, schedule)


def at_rate(rate: Rates, time: Float[Tensor, "batch 1"], schedule: NoiseSchedule) -> Times:
    """When the noise rate is `rate`, kept inside [0, 1]; both ends stay, whatever the schedule has there."""
    found = schedule.inverse(1.0 - rate.clamp(0.0, 1.0))
    return found.masked_fill(time == 0.0, 0.0).masked_fill(time == 1.0, 1.0)
