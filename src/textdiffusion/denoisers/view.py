"""A denoiser seen through another one: what it is is passed on, and only what changes is written anew."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from ..soft_tokens import SoftTokens
from .base import Denoiser


@dataclass(frozen=True)
class View(Denoiser):
    """What stands between a denoiser and those who ask it; how it answers is left to the view.

    It remembers nothing: a view of a network with a memory is read anew at each call.
    """

    denoiser: Denoiser
    """The one that is seen through it."""

    @property
    def uses_time(self) -> bool:
        return self.denoiser.uses_time

    @property
    def block_size(self) -> int | None:
        return self.denoiser.block_size

    @property
    def shift(self) -> bool:
        return self.denoiser.shift

    @property
    def longest(self) -> int | None:
        return self.denoiser.longest

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        return self.denoiser.hidden(xt, t, attend=attend, positions=positions, where=where)

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        return self.denoiser.soft(xt, t, attend=attend, positions=positions, where=where)
