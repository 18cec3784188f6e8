"""Our own network as a denoiser: like any masked language model, and with a memory."""

from dataclasses import dataclass

import torch

from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from .base import CachingDenoiser, Past, Seen, only_next_token
from .compiled import uncompiled
from .masked_lm import MaskedLMDenoiser, logits_of
from .transformer import DiffusionTransformerForMaskedLM, KeyValues


@dataclass(frozen=True)
class OwnDenoiser(CachingDenoiser):
    """A view of a `DiffusionTransformerForMaskedLM`."""

    whole: MaskedLMDenoiser
    """Calls the network on whole texts, however it is wrapped."""
    network: DiffusionTransformerForMaskedLM

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        self._check(attend)
        return self.whole(xt, t, attend=attend, positions=positions, where=where)

    @property
    def block_size(self) -> int | None:
        size: int | None = self.network.config.block_size
        return size

    @property
    def next_token(self) -> bool:
        learnt: bool = self.network.config.next_token
        return learnt

    @property
    def longest(self) -> int | None:
        return self.whole.longest

    def past(self, batch: int, length: int) -> KeyValues:
        config, weight = self.network.config, self.network.model.embed_tokens.weight
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, batch, heads, length, config.hidden_size // heads)
        # Zeros, not what happened to be there: unseen values are multiplied by 0, which nan would survive.
        keys, values = torch.zeros(2, *shape, device=weight.device, dtype=weight.dtype)
        return KeyValues(keys, values)

    def resume(
        self,
        past: Past,
        xt: Tokens,
        t: Times,
        *,
        attend: Seen | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert isinstance(past, KeyValues)
        self._check(attend)
        inputs = {"input_ids": xt, "attention_mask": attend, "position_ids": positions, "past": past}
        with uncompiled():
            return logits_of(self.network, self.network, inputs, where)

    def _check(self, attend: Seen | None) -> None:
        """Raise IncompatibleError where a network that predicts the next token is not told who sees whom."""
        if self.next_token and (attend is None or attend.ndim < 3):
            raise only_next_token(self.network.name_or_path or "MODEL")
