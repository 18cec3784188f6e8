"""Noise that strikes a token once: it becomes the mask, a random token, or stays as it is."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import SettingsError
from ..randomness import RowGenerator, move
from ..schedules import Linear, NoiseSchedule
from ..shapes import Logits, Tokens, Where
from .base import Corruption, even_words

_TINY = 1e-30
"""Keeps quotients of chances finite where one of them is 0."""


@dataclass(frozen=True)
class Shares:
    """What a struck token becomes; the three shares sum to 1."""

    mask: float
    """Share that becomes the mask."""
    random: float
    """Share that becomes a token drawn evenly from the vocabulary, the mask left out."""
    keep: float
    """Share that stays as it is, yet is scored."""

    def __post_init__(self) -> None:
        """Refuse shares that are no distribution or never make noise."""
        parts = (self.mask, self.random, self.keep)
        if min(parts) < 0.0 or abs(sum(parts) - 1.0) > 1e-6 or self.keep >= 1.0:
            raise SettingsError(
                f"shares mask {parts[0]}, random {parts[1]}, keep {parts[2]}: none may be negative, they "
                "must sum to 1, and keep must be below 1."
            )


@dataclass(frozen=True)
class Mixture(Corruption):
    """Noise strikes each token at one moment, after which it never changes.

    Given x_0, a struck token that is neither kept nor redrawn to itself is noise at time t, and was already
    noise at s < t with probability (1 - alpha_s) / (1 - alpha_t), otherwise x_0; a token equal to x_0 was x_0
    before. From this follow `posterior` and, letting s tend to t, `bound`. With shares (1, 0, 0) both are
    those of the absorbing process. A kept share leaves x_1 dependent on x_0, which adds a constant that
    `bound`, like every continuous-time integrand, does not contain.

    p_x0 says the clean token *as the other tokens tell it*, as under `Interpolating`: x_t itself is brought
    in by Bayes' rule (`origin`). So does a network learn it that is asked about struck tokens alone, unless
    some of these are kept: it then leans towards what stands there, by the kept share.
    """

    mask_id: int
    vocab_size: int
    """Number of ids, the mask included."""
    shares: Shares
    """What a struck token becomes."""
    schedule: NoiseSchedule = field(default_factory=Linear)
    masks_only: bool = field(default=False, init=False)

    @property
    def mask_share(self) -> float:
        return self.shares.mask

    def noise(self, x0: Tokens, generator: RowGenerator) -> Tokens:
        fate = move(generator.uniform(x0.shape[1], draw=1), x0.device)
        noisy = even_words(x0, self.mask_id, self.vocab_size, generator)
        noisy = torch.where(fate < self.shares.mask, self.mask_id, noisy)
        return torch.where(fate >= self.shares.mask + self.shares.random, x0, noisy)

    def prior(self, like: Tokens, generator: RowGenerator) -> Tokens:
        fate = move(generator.uniform(like.shape[1], draw=1), like.device) * (1.0 - self.shares.keep)
        words = even_words(like, self.mask_id, self.vocab_size, generator)
        return torch.where(fate < self.shares.mask, self.mask_id, words)

    def may_be_noise(self, xt: Tokens) -> Where:
        return torch.ones_like(xt, dtype=torch.bool)

    def posterior(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        s: Float[Tensor, "*#asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        alpha_s, alpha_t = self.schedule.alpha(s), self.schedule.alpha(t)
        back = ((alpha_s - alpha_t) / (1.0 - alpha_t))[..., None]
        q = back * self.origin(p_x0, xt, t)
        return q.scatter_add(-1, xt[..., None], 1.0 - back.expand_as(xt[..., None]).to(q.dtype))

    def origin(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        left, drawn = (chance.to(p_x0.dtype) for chance in self._chances(xt, t))
        here = left * p_x0.gather(-1, xt[..., None])[..., 0]
        total = (here + drawn).clamp(min=_TINY)
        q = p_x0 * (drawn / total)[..., None]
        # What cannot have come about by p_x0 nor by noise stays what it is.
        stays = torch.where(here + drawn > 0.0, here / total, 1.0)
        return q.scatter_add(-1, xt[..., None], stays[..., None])

    def bound(
        self,
        logits: Logits,
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        log_p = self.clean_logits(logits).log_softmax(-1)
        at_x0, at_xt = (log_p.gather(-1, index[..., None])[..., 0] for index in (x0, xt))
        left, drawn = (chance.to(log_p.dtype).clamp(min=_TINY) for chance in self._chances(xt, t))
        believed = at_xt.exp()
        total = left * believed + drawn
        # Of p(x_0 | x_t) = p_x0 drawn / total: its logarithm at x_0, and all of it that is not at x_t.
        leaves = torch.where(xt == x0, 0.0, (total / drawn).log() - at_x0 - 1.0)
        return self.schedule.weight(t) * (leaves + drawn * (1.0 - believed) / total)

    def marginal(
        self, x0: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"], vocab: int
    ) -> Float[Tensor, "*asked vocab"]:
        hit = 1.0 - self.schedule.alpha(t)[..., None]
        q = (1.0 - hit * (1.0 - self.shares.keep)) * F.one_hot(x0, vocab)
        q = q + hit * self.shares.random / (self.vocab_size - 1)
        q[..., self.mask_id] = hit[..., 0] * self.shares.mask
        return q

    def _chances(
        self, xt: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"]
    ) -> tuple[Float[Tensor, "*asked"], Float[Tensor, "*asked"]]:
        """That x_t is x_0 untouched, if it could be, and that noise has drawn this very token."""
        hit = (1.0 - self.schedule.alpha(t)).expand(xt.shape)
        word = xt != self.mask_id
        drawn = torch.where(word, hit * self.shares.random / max(1, self.vocab_size - 1), 1.0)
        return torch.where(word, 1.0 - hit * (1.0 - self.shares.keep), 0.0), drawn


MIXTURES = {
    "bert": Shares(0.8, 0.1, 0.1),
    "llada": Shares(0.9, 0.1, 0.0),
    "flowlm": Shares(0.2, 0.7, 0.1),
    "pure-mask": Shares(1.0, 0.0, 0.0),
    "pure-random": Shares(0.0, 1.0, 0.0),
}
"""The mixtures of the FlowLM prototype, by name (BERT's is that of arXiv:1810.04805)."""
