"""Self-distillation through time: two steps of a masked model learnt as one (SDTT, arXiv:2410.21035)."""

from dataclasses import dataclass

import torch

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import IncompatibleError
from ..randomness import RowGenerator, draw_categorical, move
from .base import ask
from .distilling import Distilling, Example, check_rounds, log_law

_WHICH, _WHAT = 0, 1
"""Draws of one of the teacher's steps: which masks it writes, and what."""


@dataclass(frozen=True)
class SelfDistillation(Distilling):
    """The student says at once what its teacher said in `merged` steps of ancestral sampling.

    A text is masked at an even rate. The teacher goes on from it by `merged` steps, and of each token it is
    kept what it said in the step in which it wrote that token; of what is masked still, what it said last.
    The student is asked about the masked text alone. Only masked tokens count, each alike.
    """

    round_steps: int = 10_000
    """Optimiser steps of a round, after which the student becomes the teacher and steps grow longer."""
    sampling_steps: int = 1024
    """Steps in which the first teacher would write a text."""
    merged: int = 2
    """Teacher's steps that become one of the student's."""
    divergence: str = "reverse-kl"
    """How far the student is from its teacher: reverse-kl, forward-kl or total-variation."""

    def __post_init__(self) -> None:
        """Refuse settings that give no rounds."""
        check_rounds(self)

    def example(
        self,
        teacher: Denoiser,
        corruption: Corruption,
        canvas: Canvas,
        step_size: float,
        generator: RowGenerator,
    ) -> Example:
        rate = move(1.0 - generator.stratified()[:, None], canvas.tokens.device)
        t = corruption.schedule.inverse(1.0 - rate)
        noised, hit = corruption.corrupt(canvas.tokens, t, generator)
        hit = hit & canvas.editable
        xt = noisy = torch.where(hit, noised, canvas.tokens)
        asked = open_ = corruption.may_be_noise(xt) & canvas.editable
        said = law = log_law(corruption, ask(teacher, canvas, xt, t.float(), open_))
        for number in range(1, self.merged):
            left, draws = (rate - step_size).clamp(min=0.0), generator.fold(number)
            chance = (rate - left) / rate
            written = open_ & (move(draws.uniform(xt.shape[1], _WHICH), rate.device) < chance)
            uniform = move(draws.uniform(xt.shape[1], _WHAT), rate.device)[written]
            xt = xt.masked_scatter(written, draw_categorical(law[written[open_]].exp(), uniform))
            open_, rate = open_ & ~written, left
            # Every process asks as often, whether it has masks left or not.
            now = corruption.schedule.inverse(1.0 - rate).float()
            law = log_law(corruption, ask(teacher, canvas, xt, now, open_))
            said = said.masked_scatter(open_[asked][:, None], law)
        return Example(noisy, t, hit, asked, said)

    def check(self, corruption: Corruption) -> None:
        """What a step writes has to stay, and where it writes must not tell what.

        Raises:
            IncompatibleError: noise is not all masks, or strikes some tokens sooner than others.
        """
        if not corruption.countable:
            raise IncompatibleError(
                f"the objective sdtt is for masks that strike all tokens alike, not for "
                f"{type(corruption).__name__} noise; distil uniform noise with dcd, or use noise absorbing."
            )
