"""What the loop shows after each step."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..shapes import Logits, PerToken, Tokens, Where


@dataclass(frozen=True)
class Likely:
    """The likeliest tokens of each place when the network was last asked about it, in order."""

    ids: Int[Tensor, "batch length choices"]
    """0 where it was not asked yet."""
    probability: Float[Tensor, "batch length choices"]
    """Before penalty, temperature, cuts and constraint; nan where it was not asked yet."""

    @classmethod
    def nothing(cls, tokens: Tokens, choices: int) -> "Likely":
        """Before the first call."""
        empty = tokens.new_zeros(*tokens.shape, choices, dtype=torch.int32)
        return cls(empty, torch.full(empty.shape, torch.nan, device=tokens.device))

    def then(self, where: Where, own: Logits) -> "Likely":
        """With what the network says of these places, as logits."""
        found = own.softmax(-1).topk(self.ids.shape[-1], dim=-1)
        ids, probability = self.ids.clone(), self.probability.clone()
        ids[where], probability[where] = found.indices.to(ids), found.values.to(probability)
        return Likely(ids, probability)


@dataclass(frozen=True)
class Frame:
    """The canvas after one step; the only thing that views, streams and tests read."""

    step: int
    """0 is the noise before the first network call; then 1, 2, ..."""
    steps: int
    """Steps planned in all; a sampler that sets its own pace may end earlier."""
    tokens: Tokens
    """Ids as they stand; positions that are still noise hold the mask id."""
    settled: Where
    """True where the text is no longer noise; prompts and padding are settled from the start."""
    confidence: PerToken
    """Probability that the network gave to each written token when it settled; nan where none was read."""
    final: Where
    """True where no later step can change the text; a sampler that rewrites finishes block by block."""
    nfe: int
    """Network calls so far."""
    seconds: float
    """Wall time since the loop began, without the time that the reader of frames took."""
    read: Int[Tensor, " batch"]
    """Tokens of each text that the network has read so far, a token once for each call that it was in."""
    judged: int = 0
    """Texts that a classifier which guides has read so far, every candidate counted."""
    likely: Likely | None = None
    """What else the network thought of, where that was asked for."""
