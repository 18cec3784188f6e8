"""Remasking that keeps the noise on its schedule (ReMDM, arXiv:2503.00307): which written tokens go back.

Every written token turns into noise again with a chance sigma. As long as sigma does not hang on what is
visible, writing can make up for it: `EachAtRandom` then writes a mask with
(alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), and the noise rate after the step is that of the schedule.
"""

from dataclasses import dataclass

import torch

from ..randomness import RowGenerator, move
from ..shapes import Where
from .base import State
from .limits import check_share
from .moment import BACK, Rates
from .reopen import Reopen, Writing


def most(before: Rates, after: Rates) -> Rates:
    """The largest sigma that leaves the schedule in reach, min(1, (1 - alpha_s) / alpha_t)."""
    return (after / (1.0 - before).clamp(min=1e-9)).clamp(max=1.0)


@dataclass(frozen=True)
class Capped(Reopen):
    """Each written token with the chance eta, or what the schedule leaves of it (ReMDM-cap)."""

    eta: float = 0.008
    """Chance of a written token to be taken back in a step, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a chance that is none."""
        check_share("eta", self.eta)

    def chance(self, before: Rates, after: Rates) -> Rates:
        return most(before, after).clamp(max=self.eta)

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        return _each(state, writing, self.chance(writing.moment.before, writing.moment.after), generator)


@dataclass(frozen=True)
class Rescaled(Reopen):
    """Each written token with eta times the largest chance that the schedule leaves (ReMDM-rescale)."""

    eta: float = 0.015
    """Share of the largest chance, from 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share("eta", self.eta)

    def chance(self, before: Rates, after: Rates) -> Rates:
        return self.eta * most(before, after)

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Where:
        return _each(state, writing, self.chance(writing.moment.before, writing.moment.after), generator)


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


def _each(state: State, writing: Writing, sigma: Rates, generator: RowGenerator) -> Where:
    drawn = generator.uniform(state.tokens.shape[1], BACK).to(sigma)
    return _old(state, writing) & (drawn < sigma)


def _old(state: State, writing: Writing) -> Where:
    """Positions of the window that held text before the step."""
    return state.window & state.settled & ~writing.where
