"""Cross-entropy and its mirror image, the divergence of the network's answer from a smoothed clean token.

For a place of which the truth is q, both losses below are least at the p with

    log p(v) - q(v) / p(v) = L q(v) + c,    L = log of what smoothing leaves at the token over elsewhere.

The first half alone has p = q, the second p as exp(L q). So neither is a bound, and unless the smoothing is
strong their answers are sharper than the truth: of what is likely they make more than it is.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption, Interpolating
from ..denoisers import Denoiser
from ..errors import SettingsError
from ..gaussian import argmax_noise
from ..randomness import RowGenerator, move
from ..shapes import PerAsked, PerText, Where
from .base import Objective, Reading, Scores, ask, uniform_noise
from .nelbo import whole_text_bound

_ADDED = 1e-8
_NEVER = -1e4
"""A log-probability of which nothing is left in float32."""


@dataclass(frozen=True)
class SymmetricKL(Objective):
    """Cross-entropy of struck tokens, and the answer's divergence from the smoothed clean token; no bound.

    The clean token has 1 - `smoothing` and its even share of the rest. A loss is divided by the chance of a
    token of its row to be struck, so that in the mean over draws rows weigh alike, however noisy; tokens that
    noise did not strike do not count, so that the answer is that by the other tokens, as samplers take it.
    """

    flip_low: float = 0.05
    """Least chance of a token to be turned into another; of each row it is drawn evenly. Above 0."""
    flip_high: float = 1.0
    """Largest chance; no more than pure noise has, which is 1 - 1 / tokens."""
    smoothing: float = 0.1
    """Share of the clean token's 1 that all tokens share evenly; at 0 the divergence would be infinite."""

    def __post_init__(self) -> None:
        """Refuse rates that are none, and no smoothing."""
        if not 0.0 < self.flip_low < self.flip_high <= 1.0:
            raise SettingsError(
                f"flip_low {self.flip_low} and flip_high {self.flip_high}, chances of a token to be flipped, "
                "must satisfy 0 < flip_low < flip_high <= 1."
            )
        if not 0.0 < self.smoothing < 1.0:
            raise SettingsError(f"smoothing is {self.smoothing}; it must lie between 0 and 1.")

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        process = uniform_noise(self, corruption)
        flip = self.flip_low + (self.flip_high - self.flip_low) * generator.stratified()
        struck = (flip * process.words / (process.words - 1)).clamp(max=1.0)
        spread = self.smoothing / process.words
        there, elsewhere = math.log(1.0 - self.smoothing + spread), math.log(spread)
        rows = _Rows(struck, 1.0 / struck, there, elsewhere, everywhere=False)
        return _scored(denoiser, process, canvas, generator, rows)

    def bound(self, corruption: Corruption) -> Objective:
        """The bound of uniform noise, which this loss is none of."""
        return whole_text_bound(corruption)

    def check(self, corruption: Corruption) -> None:
        """Chances of a flip are those of uniform noise."""
        uniform_noise(self, corruption)


@dataclass(frozen=True)
class FlowLMSymmetricKL(Objective):
    """The same two halves as the FlowLM prototype (2025) documents them; no bound.

    The noise is the arg-max of (1 - n) x + n eps with n drawn evenly from a window, which is uniform noise
    with alpha = T((1 - n) / n): n is no share of flipped tokens, of which `explore noise` tells. All tokens
    count, struck or not, against the one-hot vector with 1e-8 added to each of its V coordinates, and a row
    weighs n / (V (1 - n) + n): the more the noisier, and about 1 / V in all.
    """

    noise_low: float = 0.25
    """Least weight n of the Gaussian noise; above 0."""
    noise_high: float = 0.5
    """Largest weight; below 1."""

    def __post_init__(self) -> None:
        """Refuse a window that is none."""
        if not 0.0 < self.noise_low < self.noise_high < 1.0:
            raise SettingsError(
                f"noise_low {self.noise_low} and noise_high {self.noise_high} must satisfy "
                "0 < noise_low < noise_high < 1."
            )

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        process = uniform_noise(self, corruption)
        n = self.noise_low + (self.noise_high - self.noise_low) * generator.stratified()
        struck = argmax_noise(process.words).struck(((1.0 - n) / n).cpu()).to(n.device)
        weight = n / (process.vocab_size * (1.0 - n) + n)
        rows = _Rows(struck, weight, math.log1p(_ADDED), math.log(_ADDED), everywhere=True)
        return _scored(denoiser, process, canvas, generator, rows)

    def bound(self, corruption: Corruption) -> Objective:
        """The bound of uniform noise, which this loss is none of."""
        return whole_text_bound(corruption)

    def check(self, corruption: Corruption) -> None:
        """The arg-max of Gaussian noise is uniform noise."""
        uniform_noise(self, corruption)


@dataclass(frozen=True)
class _Rows:
    """What becomes of each row, and what its answers are held against."""

    struck: PerText
    """Chance of a token to be struck."""
    weight: PerText
    log_there: float
    """The logarithm of what the smoothed clean token has at itself."""
    log_elsewhere: float
    everywhere: bool
    """Whether all tokens count, or the struck ones alone."""


def _scored(
    denoiser: Denoiser, process: Interpolating, canvas: Canvas, generator: RowGenerator, rows: _Rows
) -> Scores:
    """Strike the editable tokens, ask the network and weigh its losses."""
    device, size = canvas.tokens.device, canvas.tokens.shape
    chance, weight = (move(numbers, device)[:, None] for numbers in (rows.struck, rows.weight))
    hit = canvas.editable & (move(generator.uniform(size[1], draw=3), device) < chance)
    xt = torch.where(hit, process.noise(canvas.tokens, generator), canvas.tokens)
    asked: Where = canvas.editable if rows.everywhere else hit
    logits = ask(denoiser, canvas, xt, process.schedule.inverse(1.0 - chance).float(), asked)
    x0 = canvas.tokens[asked]
    loss = symmetric(process.clean_log_p(logits), x0, rows.log_there, rows.log_elsewhere)
    with torch.no_grad():
        reading = Reading(*process.nll(logits, x0), asked)
    return reading.scores(canvas, loss * weight.expand(size)[asked].to(loss.dtype), hit)


def symmetric(
    log_p: Float[Tensor, "asked vocab"], x0: Int[Tensor, " asked"], log_there: float, log_elsewhere: float
) -> PerAsked:
    """-log p(x_0) plus the sum of p log(p / e), in nats; log e has two values, at x_0 and elsewhere."""
    known = log_p.clamp(min=_NEVER)  # where it is -inf, p log p is 0, and so is its slope
    there = known.gather(-1, x0[:, None])[:, 0]
    negative_entropy = (known.exp() * known).sum(-1)
    return -there + negative_entropy - log_elsewhere - there.exp() * (log_there - log_elsewhere)
