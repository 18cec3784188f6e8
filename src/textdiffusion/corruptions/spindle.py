"""Masks that strike tokens by how much they tell: rare ones sooner, frequent ones later."""

import math
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import IncompatibleError, SettingsError
from ..randomness import move, wide_float
from ..schedules import Linear, NoiseSchedule
from ..shapes import Logits
from .absorbing import MaskNoise

_STEEPEST = 0.95
"""Largest |lean|: no token's alpha falls slower than by 5 % of the even pace, or rises."""


@dataclass(frozen=True, eq=False)
class Spindle(MaskNoise):
    """Absorbing noise whose alpha hangs on the token (DiffusionBERT, arXiv:2211.15029).

    With u = 1 - alpha(t) of the schedule, a token v that makes up a share f(v) of the training text, its
    information H(v) = -log f(v), and Hbar the mean of H over that text,

        alpha_v(t) = 1 - u - strength sin(pi u) (1 - Hbar / H(v)) = 1 - u (1 + c_v sinc(u)),
        c_v = pi strength (1 - Hbar / H(v)), clipped so that every alpha_v falls from 1 to 0.

    Informative tokens are masked first, and so written last. Averaged by information (before the clip) the
    noise is that of the schedule, by which steps and grids are counted. In the paper Hbar is the mean of the
    one text; that is unknown while the text is written, and its noise has no rates by token, so that neither
    a sampler nor a bound could be exact.

    Which tokens are masked tells what they are. So p_x0 must be what is believed of a token *given that it is
    a mask at time t*, for which a network needs to know t, and the weighted cross-entropy is no bound. A mask
    turns into v at the rate r_v p_x0(v), r_v = -alpha_v' / (1 - alpha_v), under the model, and into x_0 at
    the rate r_x0 in truth; the divergence of these two jump processes is

        sum over v of r_v p_x0(v) - r_x0 - r_x0 log p_x0(x_0),

    of which the first two terms cancel where all rates are alike.
    """

    mask_id: int
    """The absorbing state."""
    vocab_size: int
    """Number of ids, the mask included."""
    strength: float = 0.3
    """How much sooner or later than even noise; 0 is even noise. The default is the authors'."""
    schedule: NoiseSchedule = field(default_factory=Linear)
    lean: Float[Tensor, " vocab"] | None = None
    """c_v of each token, from -1 (late) to 1 (soon); `told` computes it."""
    masks_only: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Refuse a strength that is none."""
        if not 0.0 <= self.strength < math.inf:
            raise SettingsError(f"strength is {self.strength}; it must be 0 or more.")

    @property
    def even(self) -> bool:
        return False

    @property
    def needs_frequencies(self) -> bool:
        return self.lean is None

    def told(self, frequencies: Int[Tensor, " vocab"]) -> "Spindle":
        """The same by these counts; each token is counted once more, so that none is without."""
        if len(frequencies) != self.vocab_size:
            raise IncompatibleError(
                f"frequencies of {len(frequencies)} tokens are given, but the network has {self.vocab_size}; "
                "count the text by its own tokenizer."
            )
        counts = frequencies.to(wide_float(frequencies.device)) + 1.0
        share = counts / counts.sum()
        information = -share.log()
        mean = (share * information).sum()
        lean = math.pi * self.strength * (1.0 - mean / information)
        return replace(self, lean=lean.clamp(-_STEEPEST, _STEEPEST))

    def survival(self, x0: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"]) -> Float[Tensor, "*asked"]:
        return 1.0 - self._struck(self._leans(t)[x0], t)

    def posterior(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        s: Float[Tensor, "*#asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        leans, (s, t) = self._leans(t), (time.to(p_x0.dtype)[..., None] for time in (s, t))
        stays = p_x0 * (self._struck(leans, s) / self._struck(leans, t)).to(p_x0.dtype)
        q = p_x0 - stays
        q[..., self.mask_id] += stays.sum(-1)
        known = F.one_hot(xt, p_x0.shape[-1]).to(q.dtype)
        return torch.where((xt == self.mask_id)[..., None], q, known)

    def bound(
        self,
        logits: Logits,
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        leans = self._leans(t)
        if logits.shape[-1] != len(leans):
            raise IncompatibleError(
                f"the network gives logits for {logits.shape[-1]} tokens, but the noise knows the "
                f"frequencies of {len(leans)}; both must know the same tokens."
            )
        log_p = self.clean_logits(logits).log_softmax(-1)
        of_x0 = self._excess(leans[x0], t).to(log_p.dtype)
        # Differences of rates, so that nothing is lost where they are large and nearly alike.
        more = self._excess(leans, t[..., None]).to(log_p.dtype) - of_x0[..., None]
        nll = -log_p.gather(-1, x0[..., None])[..., 0]
        cost = (log_p.exp() * more).sum(-1) + (1.0 + of_x0) * nll
        return torch.where(xt == self.mask_id, self.schedule.weight(t).to(log_p.dtype) * cost, 0.0)

    def _leans(self, like: Tensor) -> Float[Tensor, " vocab"]:
        """c_v where the times are, in the widest float there."""
        if self.lean is None:
            raise IncompatibleError(
                "spindle noise does not know how frequent the tokens are; give it the counts of the training "
                "text, as `textdiffusion train` does."
            )
        return move(self.lean, like.device)

    def _struck(self, lean: Float[Tensor, "*#many"], t: Float[Tensor, "*#many"]) -> Float[Tensor, "*#many"]:
        """1 - alpha_v(t) = u (1 + c_v sinc(u)) of tokens by their leans."""
        u = 1.0 - self.schedule.alpha(t)
        return u * (1.0 + lean.to(u.dtype) * torch.sinc(u))

    def _excess(self, lean: Float[Tensor, "*#many"], t: Float[Tensor, "*#many"]) -> Float[Tensor, "*#many"]:
        """By how much the rate of a token exceeds the even one, as a share of that.

        r_v / r = (1 + c_v cos(pi u)) / (1 + c_v sinc(u)), r the weight of the schedule.
        """
        u = 1.0 - self.schedule.alpha(move(t, t.device))
        cardinal = torch.sinc(u)
        return lean * (torch.cos(math.pi * u) - cardinal) / (1.0 + lean * cardinal)
