"""Discrete consistency distillation of models of uniform noise (Duo, arXiv:2506.10892)."""

from dataclasses import dataclass

import torch

from ..canvas import Canvas
from ..corruptions import Corruption, Interpolating
from ..denoisers import Denoiser
from ..errors import IncompatibleError
from ..randomness import RowGenerator, move
from .base import ask
from .distilling import Distilling, Example, check_rounds, log_law


@dataclass(frozen=True)
class ConsistencyDistillation(Distilling):
    """The student says of a text at t what its teacher says of the same text with less of the same noise.

    Duo takes both texts as arg-max(A x + B eps) with one eps: on such a path nothing is random but eps, where
    the paths of uniform noise are random throughout. No eps need be drawn. Divide by B, let r = A / B, M be
    the largest coordinate of eps beside that of the token x, J its place and e that of x. Then arg-max is x
    where r > M - e, and J elsewhere. J is even over the other words and independent of M and e, and r falls
    as noise rises, so that a token turns but once, from x to J, and by the time t with the chance
    (1 - alpha) (K - 1) / K, whatever A and B are. The law of both texts together hangs on alpha alone, then,
    and is that of two draws of uniform noise, alpha x + (1 - alpha) / K, that share their random numbers.
    They are drawn so here: it is exact, costs nothing, and holds for any noise schedule.
    """

    round_steps: int = 10_000
    """Optimiser steps of a round, after which the student becomes the teacher and steps grow longer."""
    sampling_steps: int = 512
    """1 / dt in the first round, dt being a share of the noise; it doubles from round to round."""
    divergence: str = "forward-kl"
    """How far the student is from its teacher: forward-kl, reverse-kl or total-variation."""
    merged = 2

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
        u = move(generator.stratified()[:, None], canvas.tokens.device)
        rate = step_size + (1.0 - step_size) * (1.0 - u)
        t, s = (corruption.schedule.inverse(1.0 - part) for part in (rate, rate - step_size))
        (later, hit), (earlier, _) = (corruption.corrupt(canvas.tokens, time, generator) for time in (t, s))
        xt, xs = (torch.where(canvas.editable, noised, canvas.tokens) for noised in (later, earlier))
        asked = corruption.may_be_noise(xt) & canvas.editable
        said = log_law(corruption, ask(teacher, canvas, xs, s.float(), asked))
        return Example(xt, t, hit & canvas.editable, asked, said)

    def check(self, corruption: Corruption) -> None:
        """Gaussian noise flips a word to any other alike, and there is no mask among them.

        Raises:
            IncompatibleError: noise is not uniform over the words.
        """
        if not isinstance(corruption, Interpolating) or corruption.mask_share > 0.0:
            raise IncompatibleError(
                f"the objective dcd is for noise that is uniform over all words, not for "
                f"{type(corruption).__name__} noise with masks; distil masks with sdtt, or use noise uniform."
            )
