"""Our own network as a denoiser: like any masked language model, and with a memory."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from jaxtyping import Float
from torch import Tensor, nn

from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from .base import CachingDenoiser, Past, Seen, last_place
from .compiled import uncompiled
from .masked_lm import hidden_of, logits_of
from .soft import SoftReader
from .transformer import DiffusionTransformerForMaskedLM, KeyValues


@dataclass(frozen=True)
class OwnDenoiser(SoftReader, CachingDenoiser):
    """A view of a `DiffusionTransformerForMaskedLM`."""

    model: nn.Module
    """What is called on whole texts: the network, or the wrapper that a trainer put around it."""
    network: DiffusionTransformerForMaskedLM
    """The network itself."""

    @classmethod
    def of(cls, model: nn.Module) -> "OwnDenoiser":
        """The adapter for our own network, however it is wrapped."""
        network = extract_model_from_parallel(model)
        assert isinstance(network, DiffusionTransformerForMaskedLM)
        return cls(model, network)

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        return logits_of(self.model, self.network, self._inputs(xt, t, attend, positions), where, self.shift)

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        return hidden_of(self.network, self._inputs(xt, t, attend, positions), where, self.shift)

    @property
    def uses_time(self) -> bool:
        is_told: bool = self.network.config.time_conditioning
        return is_told

    @property
    def block_size(self) -> int | None:
        size: int | None = self.network.config.block_size
        return size

    @property
    def shift(self) -> bool:
        learnt: bool = self.network.config.shift
        return learnt

    @property
    def longest(self) -> int | None:
        limit: int = self.network.config.max_position_embeddings
        return limit

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
        inputs = {**self._inputs(xt, t, attend, positions), "past": past}
        with uncompiled():
            return logits_of(self.network, self.network, inputs, where, self.shift)

    def follow(
        self,
        past: Past,
        xt: Tokens,
        t: Times,
        *,
        attend: Seen | None = None,
        positions: Positions | None = None,
    ) -> Float[Tensor, "batch vocab"]:
        assert isinstance(past, KeyValues)
        inputs = {**self._inputs(xt, t, attend, positions), "past": past}
        with uncompiled():
            return logits_of(self.network, self.network, inputs, last_place(xt), shift=False)

    def _inputs(
        self, xt: Tokens, t: Times, attend: Seen | None, positions: Positions | None
    ) -> dict[str, Any]:
        inputs = {"input_ids": xt, "attention_mask": attend, "position_ids": positions}
        return {**inputs, "times": t} if self.uses_time else inputs
