"""What every corruption (forward process) must be able to tell."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import IncompatibleError
from ..randomness import RowGenerator, move
from ..schedules import NoiseSchedule
from ..shapes import Logits, Times, Tokens, Where


class Corrupted(NamedTuple):
    """A noised text and the positions where noise struck (which may have left the token as it was)."""

    tokens: Tokens
    hit: Where


def without(logits: Logits, token: int) -> Logits:
    """The logits in float32 with one token at -inf; a new tensor.

    Raises:
        IncompatibleError: the logits have no such token.
    """
    if not 0 <= token < logits.shape[-1]:
        raise IncompatibleError(
            f"mask id {token} is not among the {logits.shape[-1]} tokens that the network gives logits for; "
            "name the right mask id or widen the network's vocabulary."
        )
    clean = logits.to(torch.float32, copy=True)
    clean[..., token] = -torch.inf
    return clean


class Corruption(ABC):
    """A forward process q(x_t | x_0), independent over positions.

    `*asked` below is (batch, length), or one axis for the positions that the network was asked about.
    """

    schedule: NoiseSchedule
    """alpha(t): probability that noise has not struck a token by time t."""
    mask_id: int | None
    """The id that marks noise; None when noise looks like text."""
    masks_only: bool
    """Whether every noisy token is the mask, so that noise can be seen."""

    @abstractmethod
    def noise(self, x0: Tokens, generator: RowGenerator) -> Tokens:
        """What each token becomes once noise has struck it."""

    @abstractmethod
    def prior(self, like: Tokens, generator: RowGenerator) -> Tokens:
        """Pure noise in the shape of `like`: a draw of x_1."""

    @abstractmethod
    def may_be_noise(self, xt: Tokens) -> Where:
        """Positions that may hold noise: elsewhere `bound` is zero and the network is not read."""

    @abstractmethod
    def posterior(
        self,
        p_x0: Float[Tensor, "*asked vocab"],
        xt: Int[Tensor, "*asked"],
        s: Float[Tensor, "*#asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked vocab"]:
        """q(x_s | x_t, x_0 ~ p_x0) as probabilities, for s < t."""

    @abstractmethod
    def bound(
        self,
        logits: Logits,
        x0: Int[Tensor, "*asked"],
        xt: Int[Tensor, "*asked"],
        t: Float[Tensor, "*#asked"],
    ) -> Float[Tensor, "*asked"]:
        """Integrand of the continuous-time negative ELBO: nats per token and unit of diffusion time."""

    @abstractmethod
    def marginal(
        self, x0: Int[Tensor, "*asked"], t: Float[Tensor, "*#asked"], vocab: int
    ) -> Float[Tensor, "*asked vocab"]:
        """q(x_t | x_0) as probabilities."""

    def clean_logits(self, logits: Logits) -> Logits:
        """The logits of x_0 in float32 with what can never be clean (the mask) at -inf; a new tensor."""
        return logits.to(torch.float32, copy=True) if self.mask_id is None else without(logits, self.mask_id)

    def corrupt(self, x0: Tokens, t: Times, generator: RowGenerator) -> Corrupted:
        """A draw of x_t given x_0, and where noise struck."""
        struck = move(generator.uniform(x0.shape[1], draw=0), x0.device)
        hit = struck >= self.schedule.alpha(move(t, t.device))
        return Corrupted(torch.where(hit, self.noise(x0, generator), x0), hit)
