"""Masked (absorbing-state) corruption: a token turns into the mask and stays so."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..randomness import RowGenerator
from ..schedules import Linear, NoiseSchedule
from ..shapes import Logits, Tokens, Where
from .base import Corruption


class MaskNoise(Corruption):
    """Noise that is masks and nothing else; where they strike may hang on the token."""

    mask_id: int
    """The absorbing state."""

    def noise(self, x0: Tokens, generator: RowGenerator) -> Tokens:
        return torch.full_like(x0, self.mask_id)

    def prior(self, like: Tokens, generator: RowGenerator) -> Tokens:
        return torch.full_like(like, self.mask_id)

    def may_be_noise(self, xt: Tokens) -> Where:
        return xt == self.mask_id

    def marginal(
        self, x0: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"], vocab: int
    ) -> Float[Tensor, "*asked vocab"]:
        alpha = self.survival(x0, t)[..., None]
        q = alpha * F.one_hot(x0, vocab)
        q[..., self.mask_id] += 1.0 - alpha[..., 0]
        return q


@dataclass(frozen=True)
class Absorbing(MaskNoise):
    """x_t is x_0 with probability alpha(t), otherwise the mask (MDLM, arXiv:2406.07524)."""

    mask_id: int
    """The absorbing state."""
    schedule: NoiseSchedule = field(default_factory=Linear)
    masks_only: bool = field(default=True, init=False)

    def posterior(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        s: Float[Tensor, "*#asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        alpha_s, alpha_t = self.schedule.alpha(s), self.schedule.alpha(t)
        reveal = ((alpha_s - alpha_t) / (1.0 - alpha_t))[..., None]
        q = reveal * p_x0
        q[..., self.mask_id] += 1.0 - reveal[..., 0]
        known = F.one_hot(xt, p_x0.shape[-1]).to(q.dtype)
        return torch.where((xt == self.mask_id)[..., None], q, known)

    def bound(
        self,
        logits: Logits,
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        nll, _ = self.nll(logits, x0)
        return torch.where(xt == self.mask_id, self.schedule.weight(t) * nll, 0.0)
