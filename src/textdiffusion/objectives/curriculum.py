"""The curriculum of Duo: soft tokens at first, of which the true bound is learnt afterwards."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import IncompatibleError, SettingsError
from ..gaussian import argmax_noise
from ..randomness import RowGenerator, move
from ..settings import check_at_least_one
from ..shapes import PerText
from ..soft_tokens import SoftNoise
from .base import Objective, Reading, Scores, uniform_noise
from .nelbo import Nelbo, whole_text_bound

_MOST_LEFT_OUT = 0.01
"""Share of a soft token that may be missing, in the mean; of a larger one the law would be another."""
_LOOKS = 9
"""Places of the window at which that share is measured."""


class _Drawn(NamedTuple):
    """Noise of each row."""

    ratio: PerText
    """Signal to noise, A / B."""
    alpha: PerText
    """Survival probability of the uniform noise that the arg-max is."""
    weight: PerText
    """Alpha that is lost per unit of what was drawn evenly."""


@dataclass(frozen=True)
class SoftNelbo(Objective):
    """The bound of uniform noise within a window of noise, read off soft tokens (Duo, arXiv:2506.10892).

    The soft token is softmax(w / temperature) with w = A x + B eps, and x_t = arg-max w has exactly the law
    of uniform noise with alpha = T(A / B). So the integrand is that of the bound at this x_t, this alpha and
    its time. The network alone sees more than x_t, so that the loss is no bound; at a temperature of 0 it is
    the window's part of it. gamma = log(B^2 / A^2) is drawn evenly, stratified over the global batch.
    """

    flip_low: float = 0.05
    """Chance of a token to be turned into another where the window begins; above 0."""
    flip_high: float = 0.95
    """The same where it ends. Duo's windows of gamma are 0.05 to 0.95 in its vocabularies, rounded."""
    temperature: float = 1e-3
    """Of the softmax; above 0."""
    top: int = 8
    """Tokens that a soft token has beside the one that stood there."""

    def __post_init__(self) -> None:
        """Refuse a window without width, and what gives no weights."""
        if not 0.0 < self.flip_low < self.flip_high < 1.0:
            raise SettingsError(
                f"flip_low {self.flip_low} and flip_high {self.flip_high}, chances of a token to be flipped, "
                "must satisfy 0 < flip_low < flip_high < 1."
            )
        if not 0.0 < self.temperature < math.inf:
            raise SettingsError(f"temperature is {self.temperature}; it must be above 0.")
        check_at_least_one(self, "top")

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        process, asked = uniform_noise(self, corruption), canvas.editable
        noise, device = self._noise(process.mask_id, process.vocab_size), canvas.tokens.device
        drawn = self.draw(process.words, generator.stratified())
        soft = noise.draw(canvas.tokens, drawn.ratio[:, None], generator).only(asked, canvas.tokens)
        alpha, weight = (move(number, device)[:, None] for number in (drawn.alpha, drawn.weight))
        t = process.schedule.inverse(alpha).float()
        logits = denoiser.soft(soft, t, attend=canvas.attend, positions=canvas.positions, where=asked)
        x0, xt = canvas.tokens[asked], soft.largest
        log_p = process.clean_log_p(logits)
        at, of = (numbers.expand(asked.shape)[asked] for numbers in (alpha, weight))
        loss = (of * process.divergence(log_p, x0, xt[asked], at)).to(log_p.dtype)
        with torch.no_grad():
            reading = Reading(*corruption.nll(logits, x0), asked)
        return reading.scores(canvas, loss, (xt != canvas.tokens) & asked)

    def bound(self, corruption: Corruption) -> Objective:
        """The true bound, over all noise."""
        return whole_text_bound(corruption)

    def check(self, corruption: Corruption) -> None:
        """Words alone, a window that they allow, and a temperature at which enough of them are drawn."""
        process = uniform_noise(self, corruption)
        most = (process.words - 1) / process.words
        if self.flip_high >= most:
            raise IncompatibleError(
                f"flip_high {self.flip_high} is more than pure noise flips among {process.words} tokens "
                f"({most:.3f}); give a lower one as objective_settings.flip_high."
            )
        noise = self._noise(process.mask_id, process.vocab_size)
        low, high = self.window(process.words)
        ratios = torch.linspace(low, high, _LOOKS).div(-2.0).exp().tolist()
        left_out = max(noise.left_out(ratio) for ratio in ratios)
        if left_out > _MOST_LEFT_OUT:
            raise IncompatibleError(
                f"at a temperature of {self.temperature:g} the {noise.drawn} tokens that are drawn lack "
                f"{left_out:.1%} of a soft token among {process.words}, and may lack {_MOST_LEFT_OUT:.0%}; "
                "raise objective_settings.top, or lower the temperature."
            )

    def window(self, words: int) -> tuple[float, float]:
        """The log noise-to-signal ratios gamma at which a token among so many is flipped as is asked for."""
        flips = torch.tensor([self.flip_low, self.flip_high], dtype=torch.float64)
        low, high = argmax_noise(words).inverse(1.0 - flips * words / (words - 1)).log().mul(-2.0).tolist()
        return low, high

    def draw(self, words: int, share: Float[Tensor, " batch"]) -> _Drawn:
        """The noise at these shares of the window; its weight is -d alpha / d gamma times the width."""
        low, high = self.window(words)
        law, ratio = argmax_noise(words), (low + (high - low) * share.double().cpu()).div(-2.0).exp()
        return _Drawn(ratio, law.alpha(ratio), (high - low) * law.slope(ratio) * ratio / 2.0)

    def _noise(self, mask_id: int, vocab_size: int) -> SoftNoise:
        return SoftNoise(mask_id, vocab_size, self.temperature, self.top)


@dataclass(frozen=True)
class Duo(Objective):
    """`SoftNelbo` in the first part of the steps, the bound `Nelbo` in the rest (Duo, arXiv:2506.10892).

    The temperature of the softmax stays, as Duo's does, or falls evenly from step to step.
    """

    soft_share: float = 0.5
    """Share of the optimiser steps, at the start, that are on soft tokens; above 0 and at most 1."""
    flip_low: float = SoftNelbo.flip_low
    """Chance of a token to be turned into another where the window of noise begins; above 0."""
    flip_high: float = SoftNelbo.flip_high
    """The same where it ends."""
    temperature: float = SoftNelbo.temperature
    """Of the softmax in the first step."""
    final_temperature: float | None = None
    """What the temperature comes to; it stays as it is when left out."""
    annealing: int | None = None
    """Optimiser steps in which it comes to that; all those on soft tokens when left out."""
    top: int = SoftNelbo.top
    """Tokens that a soft token has beside the one that stood there."""
    time_floor: float = Nelbo.time_floor
    """Smallest time drawn in the steps on the bound."""

    def __post_init__(self) -> None:
        """Refuse what its two parts refuse, and a curriculum without steps."""
        if not 0.0 < self.soft_share <= 1.0:
            raise SettingsError(f"soft_share is {self.soft_share}; it must be above 0 and at most 1.")
        check_at_least_one(self, "annealing")
        if self.annealing is not None and self.final_temperature is None:
            raise SettingsError(f"annealing {self.annealing} needs a final_temperature to come to.")
        Nelbo(self.time_floor)
        for temperature in self._ends:
            self._softly(temperature)

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        """As in the first step."""
        return self._softly(self.temperature)(denoiser, corruption, canvas, generator)

    def at(self, step: int, steps: int) -> Objective:
        """Soft tokens at the temperature of the step, or the bound."""
        soft = round(self.soft_share * steps)
        return self._softly(self._temperature(step, soft)) if step < soft else Nelbo(self.time_floor)

    def bound(self, corruption: Corruption) -> Objective:
        """The true bound, over all noise."""
        return whole_text_bound(corruption)

    def check(self, corruption: Corruption) -> None:
        """As for soft tokens of any of its temperatures: the higher, the more of them is left out."""
        uniform_noise(self, corruption)
        self._softly(max(self._ends)).check(corruption)

    @property
    def _ends(self) -> tuple[float, float]:
        """The first temperature and the last."""
        final = self.final_temperature
        return self.temperature, self.temperature if final is None else final

    def _temperature(self, step: int, soft: int) -> float:
        first, last = self._ends
        return first + (last - first) * min(1.0, step / (self.annealing or soft))

    def _softly(self, temperature: float) -> SoftNelbo:
        return SoftNelbo(self.flip_low, self.flip_high, temperature, self.top)
