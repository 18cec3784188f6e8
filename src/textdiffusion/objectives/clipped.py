"""Block diffusion whose mask rates are clipped, now and then, to those at which its loss varies least."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..randomness import RowGenerator
from .base import Objective, Scores, Tunable
from .block_nelbo import BlockNelbo

_EDGES = 20
"""Clips begin and end at multiples of 1/20."""
_NARROWEST = 10
"""They are no narrower than a half, so that the network still learns to begin and to end a block."""


@dataclass(frozen=True)
class ClippedBlockNelbo(Tunable):
    """`BlockNelbo` with the clip at which a block's loss varies least (BD3-LM, arXiv:2503.09573)."""

    block_size: int = BlockNelbo.block_size
    """Tokens in a block; the network sees blocks of this size too."""
    low: float = BlockNelbo.low
    """Where the clip begins until it is chosen."""
    high: float = BlockNelbo.high
    """Where the clip ends until it is chosen."""

    def __post_init__(self) -> None:
        """Refuse what `BlockNelbo` refuses."""
        BlockNelbo(self.block_size, self.low, self.high)

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        return self._now(denoiser, corruption, canvas, generator)

    def check(self, corruption: Corruption) -> None:
        """As for any clip."""
        self._now.check(corruption)

    def bound(self, corruption: Corruption) -> Objective:
        """The same blocks without a clip."""
        return self._now.bound(corruption)

    def moments(self, scores: Scores, canvas: Canvas) -> Float[Tensor, "batch numbers"]:
        """By mask rate: how many blocks, their losses per token, and the squares of these."""
        nats, rate = (self._now.in_blocks(of) for of in (scores.nats.detach().float(), scores.rate.float()))
        total = self._now.in_blocks(canvas.editable).sum(2)
        loss = nats.sum(2) / total.clamp(min=1)
        place = (rate.amax(2) * _EDGES - 1e-4).ceil().clamp(1, _EDGES).long() - 1
        there = (total > 0).float()
        empty = torch.zeros(len(loss), _EDGES, device=loss.device)
        sums = [empty.scatter_add(1, place, of) for of in (there, loss, loss.square())]
        return torch.cat(sums, dim=1)

    def choice(self, moments: Float[Tensor, " numbers"]) -> dict[str, float]:
        """The widest of the clips at which the losses vary least; as it was where nothing was measured."""
        number, first, second = moments.double().view(3, _EDGES).cpu()
        found = {"clip_low": self.low, "clip_high": self.high}
        least = torch.inf
        for width in range(_EDGES, _NARROWEST - 1, -1):
            for low in range(_EDGES - width + 1):
                n, mean, square = (of[low : low + width].sum() for of in (number, first, second))
                variance = float(square / n - (mean / n) ** 2) if n > 1 else torch.inf
                if variance < least:
                    least, found = variance, {"clip_low": low / _EDGES, "clip_high": (low + width) / _EDGES}
        return found

    def chosen(self, choice: Mapping[str, float]) -> "ClippedBlockNelbo":
        """The same blocks with the clip of a choice."""
        return replace(self, low=choice.get("clip_low", self.low), high=choice.get("clip_high", self.high))

    @property
    def _now(self) -> BlockNelbo:
        return BlockNelbo(self.block_size, self.low, self.high)
