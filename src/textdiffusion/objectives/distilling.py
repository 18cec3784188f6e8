"""Learning to write in fewer steps from a teacher that takes more of them, round by round."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import SettingsError
from ..randomness import RowGenerator
from ..settings import check_at_least_one
from ..shapes import Logits, Times, Tokens, Where
from .base import Objective, Reading, Scores, ask
from .divergences import DIVERGENCES, LogLaw
from .nelbo import whole_text_bound

_LEAST = -1e4
"""What counts as the logarithm of 0, so that 0 times it is 0 and no gradient is lost."""


class Example(NamedTuple):
    """A noisy text, and what a teacher that sees further says of it."""

    xt: Tokens
    t: Times
    hit: Where
    """Where noise struck."""
    asked: Where
    """Where the student is asked what stood there."""
    said: LogLaw
    """What the teacher says there, one row for each of them."""


class Distilling(Objective):
    """An objective whose targets come from a teacher that is renewed in rounds.

    In round r (from 0) a step of the teacher takes away `merged`^r / `sampling_steps` of the noise, as a step
    of so many even ones does, and the student is to do in one step what the teacher does in `merged`. After
    `round_steps` optimiser steps the student becomes the teacher. The last round is that behind which a step
    would take away more than all noise; it goes on to the end of the training, with the same teacher.
    """

    round_steps: int
    """Optimiser steps of a round."""
    sampling_steps: int
    """Steps in which the first teacher would write a text."""
    merged: int
    """Teacher's steps that become one of the student's."""
    divergence: str
    """How far the student is from its teacher; a name of `DIVERGENCES`."""

    @abstractmethod
    def example(
        self,
        teacher: Denoiser,
        corruption: Corruption,
        canvas: Canvas,
        step_size: float,
        generator: RowGenerator,
    ) -> Example:
        """Corrupt the editable tokens and ask the teacher, whose step takes away that much of all noise."""

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        raise SettingsError(
            f"{type(self).__name__} learns from a teacher and was not given one; call `taught` first."
        )

    def taught(self, teacher: Denoiser, step: int) -> "Taught":
        """What is learnt at an optimiser step (0 is the first) from the teacher of its round."""
        return Taught(self, teacher, self.step_size(step))

    def round(self, step: int) -> int:
        """The round of an optimiser step; both count from 0."""
        last, longest = 0, self.merged**2
        while longest <= self.sampling_steps:
            last, longest = last + 1, longest * self.merged
        return min(step // self.round_steps, last)

    def begins_round(self, step: int) -> bool:
        """Whether a round begins with this step, with another teacher than the one before had."""
        return step > 0 and self.round(step) > self.round(step - 1)

    def step_size(self, step: int) -> float:
        """The share of all noise that a step of the teacher takes away at an optimiser step."""
        return float(self.merged ** self.round(step)) / self.sampling_steps

    def bound(self, corruption: Corruption) -> Objective:
        """The bound of the noise: what a student pays for its few steps in likelihood."""
        return whole_text_bound(corruption)


@dataclass(frozen=True)
class Taught(Objective):
    """A distilling objective with its teacher: the divergence of the student from it, in nats per token."""

    rule: Distilling
    teacher: Denoiser
    """Asked first and without gradient; it may use the weights of the student until it has answered."""
    step_size: float
    """The share of all noise that a step of the teacher takes away."""

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        with torch.no_grad():
            example = self.rule.example(self.teacher, corruption, canvas, self.step_size, generator)
        logits = ask(denoiser, canvas, example.xt, example.t.float(), example.asked)
        with torch.no_grad():  # shown, not learnt
            reading = Reading(*corruption.nll(logits, canvas.tokens[example.asked]), example.asked)
        loss = DIVERGENCES[self.rule.divergence](log_law(corruption, logits), example.said)
        return reading.scores(canvas, loss, example.hit)

    def bound(self, corruption: Corruption) -> Objective:
        """As of the rule."""
        return self.rule.bound(corruption)

    def check(self, corruption: Corruption) -> None:
        """As of the rule."""
        self.rule.check(corruption)


def log_law(corruption: Corruption, logits: Logits) -> Logits:
    """Log-probabilities of the clean token in float32; of what cannot be clean a very low number."""
    return corruption.clean_logits(logits).log_softmax(-1).clamp(min=_LEAST)


def check_rounds(rule: Any) -> None:
    """Refuse settings of a distilling objective that give no rounds.

    Raises:
        SettingsError, UnknownNameError: see the message.
    """
    check_at_least_one(rule, "round_steps", "sampling_steps")
    if rule.merged < 2:
        raise SettingsError(f"merged is {rule.merged}; at least 2 steps have to become one.")
    if rule.sampling_steps < rule.merged:
        raise SettingsError(
            f"sampling_steps is {rule.sampling_steps}, but {rule.merged} steps are to become one; give more "
            "sampling_steps."
        )
    DIVERGENCES[rule.divergence]
