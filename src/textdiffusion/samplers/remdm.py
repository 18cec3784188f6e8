"""Remasking that keeps the noise on its schedule (ReMDM, arXiv:2503.00307): which written tokens go back.

Every written token turns into noise again with a chance sigma. As long as sigma does not hang on what is
visible, writing can make up for it: `EachAtRandom` then writes a mask with
(alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), and the noise rate after the step is that of the schedule.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingsError
from ..randomness import RowGenerator, move
from ..schedules import NoiseSchedule
from ..shapes import Times, Where
from .base import State
from .limits import check_share
from .moment import BACK, Rates
from .pace import Pace, at_rate
from .reopen import Reopen, Writing


def most(before: Rates, after: Rates) -> Rates:
    """The largest sigma that leaves the schedule in reach, min(1, (1 - alpha_s) / alpha_t)."""
    return (after / (1.0 - before).clamp(min=1e-9)).clamp(max=1.0)


class ByChance(Reopen):
    """Each written token by itself, with the chance that writing makes up for."""

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        """As `chance` says, whatever the tokens are."""
        return _each(state, writing, self.chance(writing.moment.before, writing.moment.after), generator)


@dataclass(frozen=True)
class Capped(ByChance):
    """Each written token with the chance eta, or what the schedule leaves of it (ReMDM-cap)."""

    eta: float = 0.008
    """Chance of a written token to be taken back in a step, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a chance that is none."""
        check_share("eta", self.eta)

    def chance(self, before: Rates, after: Rates) -> Rates:
        return most(before, after).clamp(max=self.eta)


@dataclass(frozen=True)
class Rescaled(ByChance):
    """Each written token with eta times the largest chance that the schedule leaves (ReMDM-rescale)."""

    eta: float = 0.015
    """Share of the largest chance, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share("eta", self.eta)

    def chance(self, before: Rates, after: Rates) -> Rates:
        return self.eta * most(before, after)


@dataclass(frozen=True)
class LeastConfident(Reopen):
    """The largest chance shared out by softmax(-confidence when written) over all tokens (ReMDM-conf).

    Writing does not make up for it, as published, so that more is noise than the schedule says.
    """

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        old = _old(state, writing)
        share = move(-state.confidence, old.device).masked_fill(~old, -torch.inf).softmax(1)
        sigma = share * most(writing.moment.before, writing.moment.after)
        return _each(state, writing, sigma, generator)


@dataclass(frozen=True)
class WhileHeld(ByChance):
    """Each written token with the chance eta, in steps that leave the noise rate as it is (ReMDM-loop)."""

    eta: float = 0.02
    """Chance of a written token to be taken back in such a step, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a chance that is none."""
        check_share("eta", self.eta)

    def chance(self, before: Rates, after: Rates) -> Rates:
        return torch.where(before == after, most(before, after).clamp(max=self.eta), 0.0)


@dataclass(frozen=True)
class Loop(Pace):
    """Fast down to little noise, which is held for long, then down to none (ReMDM-loop).

    `t_on` and `t_off` are noise rates of the grid of steps, which are times where the schedule is linear.
    """

    t_on: float = 0.55
    """Noise rate of the grid from which the noise is held, from t_off to 1."""
    t_off: float = 0.05
    """Noise rate of the grid from which it falls to nothing, from 0 to t_on."""
    alpha_on: float = 0.9
    """Share of text while the noise is held, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse what gives no loop."""
        for name, value in vars(self).items():
            check_share(name, value)
        if self.t_off > self.t_on:
            raise SettingsError(f"t_off {self.t_off} must be at most t_on, which is {self.t_on}.")

    def __call__(self, time: Float[Tensor, "batch 1"], window: Where, schedule: NoiseSchedule) -> Times:
        rate, held = 1.0 - schedule.alpha(time), 1.0 - self.alpha_on
        falling = 1.0 - (1.0 - rate) * self.alpha_on / max(1.0 - self.t_on, 1e-9)
        ending = rate * held / max(self.t_off, 1e-9)
        paced = torch.where(rate > self.t_on, falling, torch.where(rate > self.t_off, held, ending))
        return at_rate(paced, time, schedule)


def _each(state: State, writing: Writing, sigma: Rates, generator: RowGenerator) -> Where:
    drawn = generator.uniform(state.tokens.shape[1], BACK).to(sigma)
    return _old(state, writing) & (drawn < sigma)


def _old(state: State, writing: Writing) -> Where:
    """Positions of the window that held text before the step."""
    return state.window & state.settled & ~writing.where
