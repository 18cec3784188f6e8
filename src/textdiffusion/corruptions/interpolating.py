"""Noise that strikes again and again: a token may be drawn anew at any time, and revised at any time."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import IncompatibleError, SettingsError
from ..randomness import RowGenerator, move, wide_float
from ..schedules import Linear, NoiseSchedule
from ..shapes import Logits, Tokens, Where
from .base import Corruption, even_words

_TINY = 1e-30
"""Keeps quotients of chances finite where one of them is 0; far below what float32 can tell from it."""
_LINEAR = 40.0
"""Above this log(1 + exp(x)) is x, in float64 too."""


@dataclass(frozen=True)
class Interpolating(Corruption):
    """q(x_t | x_0) = alpha x_0 + (1 - alpha) pi, and q(x_t | x_s) the same with r = alpha_t / alpha_s.

    pi has `mask_share` on the mask and the rest evenly on all other tokens (GIDD, arXiv:2503.04482; D3PM,
    arXiv:2107.03006). Share 0 is uniform-state diffusion (UDLM, arXiv:2412.10193; Duo, arXiv:2506.10892),
    share 1 the absorbing process.

    p_x0 says the clean token *as the other tokens tell it*: x_t itself is brought in here, by Bayes' rule
    with p_x0 as what was believed before (in `posterior`, `origin` and `bound` alike). A network that
    minimises the bound answers so, and one that is asked about struck tokens alone (cross-entropy) does too.

    The bound is the divergence of two jump processes. With z = x_t, a = alpha x_0 + (1 - alpha) pi, b the
    same with p_x0 for x_0, and the rate -alpha'/alpha pi(z) of every jump y -> z, it is

        sum over y != z of  -alpha'/alpha pi(z) [b(y)/b(z) - a(y)/a(z) + a(y)/a(z) log(a(y)/a(z) b(z)/b(y))]
        = -alpha'/alpha pi(z)/a(z) [KL(a || b) + a(z)/b(z) - 1 - log(a(z)/b(z))],

    since a and b each sum to 1. Let u be pi of a word, c = (1 - alpha) u, k = alpha / c and
    l(v) = log(1 + k p_x0(v)). All terms of KL but that of x_0 are c log(c/b) = -c l, so that

        KL(a || b) = alpha w + c [log(1 + k) - sum over v of l(v)],  w = log(1 + k) - l(x_0),

    and log(a(z)/b(z)) is w where z = x_0, -l(z) at any other word, and 0 at the mask. So one sum over the
    vocabulary is all that is needed.
    """

    mask_id: int
    vocab_size: int
    """Number of ids, the mask included."""
    mask_share: float = 0.8
    """Share of the noise that is the mask, from 0 to 1; the rest are words, each as likely."""
    schedule: NoiseSchedule = field(default_factory=Linear)
    masks_only: bool = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a share that is none; nothing but masks is noise that can be seen."""
        if not 0.0 <= self.mask_share <= 1.0:
            raise SettingsError(f"mask_share is {self.mask_share}; it must be from 0 to 1.")
        object.__setattr__(self, "masks_only", self.mask_share == 1.0)

    @property
    def word_share(self) -> float:
        """Share of the noise that each single word has."""
        return (1.0 - self.mask_share) / max(1, self.words)

    @property
    def words(self) -> int:
        """Tokens that can be clean: all but the mask."""
        return self.vocab_size - 1

    def noise(self, x0: Tokens, generator: RowGenerator) -> Tokens:
        fate = move(generator.uniform(x0.shape[1], draw=1), x0.device)
        words = even_words(x0, self.mask_id, self.vocab_size, generator)
        return torch.where(fate < self.mask_share, self.mask_id, words)

    def prior(self, like: Tokens, generator: RowGenerator) -> Tokens:
        return self.noise(like, generator)

    def may_be_noise(self, xt: Tokens) -> Where:
        return xt == self.mask_id if self.masks_only else torch.ones_like(xt, dtype=torch.bool)

    def posterior(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        s: Float[Tensor, "*#asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        return self._back(p_x0, xt, self.schedule.alpha(s), self.schedule.alpha(t))

    def origin(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        alpha = self.schedule.alpha(t)
        return self._back(p_x0, xt, torch.ones_like(alpha), alpha)

    def bound(
        self,
        logits: Logits,
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        log_p, time = self.clean_log_p(logits), move(t, t.device)
        per_alpha = self.divergence(log_p, x0, xt, self.schedule.alpha(time))
        return (-self.schedule.alpha_prime(time) * per_alpha).to(log_p.dtype)

    def marginal(
        self, x0: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"], vocab: int
    ) -> Float[Tensor, "*asked vocab"]:
        alpha = self.schedule.alpha(t)[..., None]
        return self._noised(F.one_hot(x0, vocab).to(alpha.dtype), alpha)

    def clean_log_p(self, logits: Logits) -> Logits:
        """Log-probabilities of x_0 in float32, that of the mask -inf; what `divergence` takes.

        Raises:
            IncompatibleError: they are of other tokens than the noise is made of.
        """
        if logits.shape[-1] != self.vocab_size:
            raise IncompatibleError(
                f"the network gives logits for {logits.shape[-1]} tokens, but the noise is made of "
                f"{self.vocab_size}; both must know the same tokens."
            )
        return self.clean_logits(logits).log_softmax(-1)

    def divergence(
        self,
        log_p: Float[Tensor, "*asked vocab"],
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        alpha: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        """`bound` per unit of alpha instead of time, from log-probabilities of which the mask has none."""
        alpha = alpha.to(wide_float(log_p.device)).clamp(min=_TINY)
        struck = (1.0 - alpha).clamp(min=_TINY)
        odds = alpha / (struck * self.word_share).clamp(min=_TINY)
        shift, most = odds.log(), odds.log1p()
        every = F.softplus(log_p + shift[..., None].to(log_p.dtype), threshold=_LINEAR).sum(-1)
        at_x0, at_xt = (
            F.softplus(log_p.gather(-1, index[..., None])[..., 0].to(shift.dtype) + shift, threshold=_LINEAR)
            for index in (x0, xt)
        )
        missed, same = most - at_x0, xt == x0
        # pi(z) / a(z); at a mask pi of the mask cancels.
        weight = torch.where(same, self.word_share / (alpha + struck * self.word_share), 1.0 / struck)
        held = torch.where(same, missed.expm1() - missed, (-at_xt).expm1() + at_xt)
        return weight * (missed + (most - every.to(shift.dtype)) / odds + held / alpha)

    def _noised(
        self, p_x0: Float[Tensor, "*asked vocab"], alpha: Float[Tensor, "*#asked 1"]
    ) -> Float[Tensor, "*asked vocab"]:
        """The law at noise alpha: alpha p_x0 + (1 - alpha) pi."""
        q = alpha * p_x0 + (1.0 - alpha) * self.word_share
        q[..., self.mask_id] += (1.0 - alpha[..., 0]) * (self.mask_share - self.word_share)
        return q

    def _back(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        alpha_s: Float[Tensor, "*#asked"],
        alpha_t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        """[r x_t + (1 - r) pi(x_t)] [alpha_s p_x0 + (1 - alpha_s) pi], normalised.

        At a mask pi of the mask cancels, so that masks count as noise even where noise makes none.
        """
        alpha_s, alpha_t = (alpha.to(p_x0.dtype) for alpha in (alpha_s, alpha_t))
        kept = alpha_t / alpha_s.clamp(min=_TINY)
        is_word = xt != self.mask_id
        chance = p_x0.new_ones(xt.shape).masked_fill(is_word, self.word_share)
        believed = p_x0.gather(-1, xt[..., None])[..., 0] * is_word
        total = alpha_t * believed + (1.0 - alpha_t) * chance
        stays = kept * (alpha_s * believed + (1.0 - alpha_s) * chance)
        q = self._noised(p_x0, alpha_s[..., None]).mul_(((1.0 - kept) * chance)[..., None])
        q = q.scatter_add_(-1, xt[..., None], stays[..., None]).div_(total.clamp(min=_TINY)[..., None])
        # What cannot have come about by p_x0 nor by noise stays what it is.
        return q.scatter_add_(-1, xt[..., None], (total <= 0.0).to(q.dtype)[..., None])
