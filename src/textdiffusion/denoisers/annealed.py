"""A network on its way from seeing the left alone to seeing both sides."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ..attention import opened
from ..randomness import RowGenerator
from ..registry import Registry
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from ..soft_tokens import SoftTokens
from .view import View

_OPENED = 5

RAMPS: Registry[Callable[[float], float]] = Registry(
    "ramp",
    {
        "linear": lambda share: share,
        "cosine": lambda share: (1.0 - math.cos(math.pi * share)) / 2.0,
        "quadratic": lambda share: share**2,
        "sqrt": math.sqrt,
    },
)
"""From the share of the annealing that is over to the share of later tokens that are seen."""


@dataclass(frozen=True)
class Annealed(View):
    """A view in which a token sees each later one with a certain chance (DiffuLLaMA, arXiv:2410.17891).

    One mask serves all layers and heads of a call. At 0 it is causal, at 1 everything is seen.
    """

    openness: float
    """Chance of a later token to be seen."""
    generator: RowGenerator
    """Of this step: what it draws is drawn again by the next call with it."""
    per_row: bool = False
    """Draw a mask for each text; else the whole batch, over all processes, has one."""

    @property
    def block_size(self) -> int | None:
        """None: what a token sees is drawn for the whole text, whatever blocks the network knows."""
        return None

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        return self.denoiser(xt, t, attend=self._seen(xt, attend), positions=positions, where=where)

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        return self.denoiser.hidden(xt, t, attend=self._seen(xt, attend), positions=positions, where=where)

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        attend = self._seen(xt.largest, attend)
        return self.denoiser.soft(xt, t, attend=attend, positions=positions, where=where)

    def _seen(self, xt: Tokens, attend: Attend | None) -> Bool[Tensor, "batch query key"]:
        length = xt.shape[1]
        draw = self.generator.uniform if self.per_row else self.generator.common_uniform
        u = draw(length * length, _OPENED).view(-1, length, length).to(xt.device)
        seen = opened(u, self.openness).expand(len(xt), -1, -1)
        return seen if attend is None else seen & (attend if attend.ndim == 3 else attend[:, None, :])


def openness(step: int, steps: int, ramp: str) -> float:
    """The chance at a step that is counted from 0; 1 from step `steps` - 1 on, and at once without steps."""
    return 1.0 if step + 1 >= steps else RAMPS[ramp]((step + 1) / steps)
