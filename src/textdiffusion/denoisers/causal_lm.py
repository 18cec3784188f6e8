"""Any causal language model of transformers as a denoiser: who sees whom is told to it query by query.

It sees all (DiffuLLaMA, arXiv:2410.17891), or block by block with an exact memory (BD3-LM, arXiv:2503.09573),
or as it was made, which is blocks of one token. The output at i - 1 says token i, as it has learnt to, unless
it was trained to say it in place (SDAR, arXiv:2510.06303).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ..attention import block_causal, combine
from ..errors import IncompatibleError
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from .base import CachingDenoiser, Past, Seen, last_place
from .compiled import uncompiled
from .masked_lm import hidden_of, logits_of
from .soft import SoftReader
from .time import time_embedding, told

READING = "diffusion"
"""Key of config.json under which a causal network keeps `block_size` and `shift` if it learnt to denoise."""
_AS_MADE: Mapping[str, Any] = {"block_size": 1, "shift": True}


@dataclass(frozen=True)
class Remembered(Past):
    """The keys and values of transformers' own cache, up to where the next tokens stand."""

    cache: DynamicCache
    """Shared by all views; what a view does not see is cut off when it is read on."""
    start: int = 0
    reads: int = 0

    def at(self, start: int, *, reads: int = 0) -> "Remembered":
        return replace(self, start=start, reads=reads)

    def of_rows(self, rows: Int[Tensor, " some"]) -> "Remembered":
        chosen = DynamicCache()
        for number, layer in enumerate(self.cache.layers):
            assert isinstance(layer, DynamicLayer)
            if layer.keys is not None and layer.values is not None:
                chosen.update(layer.keys[rows], layer.values[rows], number)
        return replace(self, cache=chosen)

    def cut(self) -> DynamicCache:
        """The cache without what stands at `start` or behind it."""
        self.cache.crop(self.start - self.cache.get_seq_length())
        return self.cache


@dataclass(frozen=True)
class CausalLMDenoiser(SoftReader, CachingDenoiser):
    """A view of a causal network, wrapped for distributed training or not."""

    model: nn.Module
    """What is called on whole texts: the network, or the wrapper that a trainer put around it."""
    network: PreTrainedModel
    """The network itself."""

    @classmethod
    def of(cls, model: nn.Module) -> "CausalLMDenoiser":
        """The adapter for a causal language model, however it is wrapped.

        Raises:
            IncompatibleError: the network does not take what block diffusion must tell it.
        """
        network = extract_model_from_parallel(model)
        assert isinstance(network, PreTrainedModel)
        missing = _INPUTS - set(inspect.signature(network.forward).parameters)
        if missing:
            raise _incompatible(network, f"its forward takes no {' and no '.join(sorted(missing))}")
        if network.base_model is network:
            raise _incompatible(network, "it does not tell its body from its head")
        others = {type(layer).__name__ for layer in _layers(network) if not isinstance(layer, DynamicLayer)}
        if others:
            raise _incompatible(
                network, f"it remembers by {', '.join(sorted(others))}, not by keys and values"
            )
        return cls(model, network)

    @property
    def block_size(self) -> int | None:
        size: int | None = self._reading()["block_size"]
        return size

    @property
    def shift(self) -> bool:
        learnt: bool = self._reading()["shift"]
        return learnt

    @property
    def longest(self) -> int | None:
        """The network's positions, or its sliding window where that is shorter: our masks have no window."""
        config = self.network.config.get_text_config(decoder=True)
        name = config.attribute_map.get("max_position_embeddings", "max_position_embeddings")
        limits = [vars(config).get(name)]
        layers = _layers(self.network)
        limits += [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
        return min((int(limit) for limit in limits if limit), default=None)

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        """As every denoiser; an `attend` for each query is taken as it is, else the blocks are kept."""
        inputs = {**self._inputs(xt, 0, attend, positions), "use_cache": False}
        with told(self.network, t):
            return logits_of(self.model, self.network, inputs, where, self.shift)

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        inputs = {**self._inputs(xt, 0, attend, positions), "use_cache": False}
        with told(self.network, t):
            return hidden_of(self.network, inputs, where, self.shift)

    @property
    def uses_time(self) -> bool:
        return time_embedding(self.network) is not None

    def past(self, batch: int, length: int) -> Remembered:
        return Remembered(DynamicCache())

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
        inputs = self._resumed(past, xt, attend, positions)
        with uncompiled(), told(self.network, t):
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
        inputs = self._resumed(past, xt, attend, positions)
        with uncompiled(), told(self.network, t):
            return logits_of(self.network, self.network, inputs, last_place(xt), shift=False)

    def _resumed(
        self, past: Past, xt: Tokens, attend: Seen | None, positions: Positions | None
    ) -> dict[str, Any]:
        assert isinstance(past, Remembered)
        if past.reads > past.start + xt.shape[1]:
            raise IncompatibleError(
                "the memory of a causal language model holds nothing behind what it reads: leave the dual "
                "cache out; the prefix cache reads what stands behind at every call."
            )
        inputs = self._inputs(xt, past.start, attend, positions)
        return inputs | {"past_key_values": past.cut(), "use_cache": True}

    def _inputs(
        self, xt: Tokens, start: int, attend: Seen | None, positions: Positions | None
    ) -> dict[str, Any]:
        """What the network is told of tokens that stand at `start`; never no mask, which would be causal."""
        stop = start + xt.shape[1]
        if positions is None:
            positions = torch.arange(start, stop, device=xt.device).expand(len(xt), -1)
        per_query = attend is not None and attend.ndim == 3
        seen = combine(attend, None if per_query else self._pattern(start, stop, xt.device))
        assert seen is not None
        return {"input_ids": xt, "attention_mask": _as_taken(self.network, seen), "position_ids": positions}

    def _pattern(self, start: int, stop: int, device: torch.device) -> Bool[Tensor, "query key"]:
        return block_causal(stop, self.block_size or stop, device, start=start)

    def _reading(self) -> Mapping[str, Any]:
        said: Mapping[str, Any] = vars(self.network.config).get(READING, _AS_MADE)
        return said


def is_causal_lm(network: PreTrainedModel) -> bool:
    """Whether transformers' own table says that this network is a causal language model."""
    kinds: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(network.config), ())
    return isinstance(network, kinds)


@torch.no_grad()
def check_masks(network: PreTrainedModel) -> None:
    """Raise IncompatibleError unless a token sees a later one where the mask says so, and only there.

    Not every family honours a mask for each query: some keep a causal mask of their own beside it.
    """
    denoiser, training = CausalLMDenoiser.of(network), network.training
    device, said_at = network.device, int(denoiser.shift)
    text, now = torch.tensor([[0, 1], [0, 2]], device=device), torch.zeros(2, 1, device=device)
    all_seen = torch.ones(2, 2, 2, dtype=torch.bool, device=device)
    network.eval()
    masks = (all_seen, all_seen.tril())
    open_, closed = (denoiser(text, now, attend=seen)[:, said_at].float() for seen in masks)
    network.train(training)
    if bool((open_[0] == open_[1]).all()) or not torch.allclose(closed[0], closed[1], atol=1e-3, rtol=1e-3):
        raise _incompatible(network, "its attention does not obey a mask for each query")


def _as_taken(network: PreTrainedModel, seen: Bool[Tensor, "batch 1 query key"]) -> Tensor:
    """The mask in the form that the network's attention takes."""
    kind = network.config._attn_implementation
    form = _FORMS.get(kind)
    if form is None:
        reason = f"its attention {kind} takes no mask for each query"
        raise _incompatible(network, f"{reason} (load it with attn_implementation {' or '.join(_FORMS)})")
    return form(seen, network.dtype)


def _added(seen: Bool[Tensor, "..."], dtype: torch.dtype) -> Tensor:
    """0 where a key may be seen, and the lowest number elsewhere: what is added to the scores."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def _as_it_is(seen: Bool[Tensor, "..."], dtype: torch.dtype) -> Tensor:
    return seen


def _layers(network: PreTrainedModel) -> list[Any]:
    """How each layer would remember by itself."""
    return list(DynamicCache(config=network.config).layers)


def _incompatible(network: PreTrainedModel, reason: str) -> IncompatibleError:
    return IncompatibleError(f"{type(network).__name__} cannot denoise: {reason}.")


_FORMS: Mapping[str, Callable[[Tensor, torch.dtype], Tensor]] = {"sdpa": _as_it_is, "eager": _added}
_INPUTS = {"attention_mask", "past_key_values", "position_ids"}
