"""Any masked language model of transformers as a denoiser: the home of what is particular to them."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import IncompatibleError
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from .base import before
from .soft import SoftReader
from .time import time_embedding, told


@dataclass(frozen=True)
class MaskedLMDenoiser(SoftReader):
    """A view of a network, wrapped for distributed training or not."""

    model: nn.Module
    """What is called: the network, or the wrapper that a trainer put around it."""
    network: PreTrainedModel
    """The network itself."""
    offset: int
    """What the family adds to positions: pad id + 1 for RoBERTa and its kin, else 0."""
    takes_positions: bool
    """Whether positions can be given; a family with relative positions needs none."""

    @classmethod
    def of(cls, model: nn.Module) -> "MaskedLMDenoiser":
        """The adapter for a masked language model, however it is wrapped."""
        network = extract_model_from_parallel(model)
        if not isinstance(network, PreTrainedModel):
            raise IncompatibleError(
                f"{type(network).__name__} is no model of transformers; wrap it as a Denoiser."
            )
        parameters = inspect.signature(network.forward).parameters
        return cls(model, network, _position_offset(network), "position_ids" in parameters)

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        with told(self.network, t):
            return logits_of(self.model, self.network, self._inputs(xt, attend, positions), where, self.shift)

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        with told(self.network, t):
            return hidden_of(self.network, self._inputs(xt, attend, positions), where, self.shift)

    @property
    def uses_time(self) -> bool:
        return time_embedding(self.network) is not None

    @property
    def longest(self) -> int | None:
        table = _position_table(self.network)
        if table is not None:
            return table.num_embeddings - self.offset
        limit = self.network.config.to_dict().get("max_position_embeddings")
        return int(limit) if limit else None

    def _inputs(self, xt: Tokens, attend: Attend | None, positions: Positions | None) -> dict[str, Any]:
        inputs: dict[str, Any] = {"input_ids": xt}
        if attend is not None:
            inputs["attention_mask"] = attend if attend.ndim == 2 else attend[:, None]
        if positions is not None and self.takes_positions:
            inputs["position_ids"] = positions + self.offset
        return inputs


def logits_of(
    model: nn.Module, network: PreTrainedModel, inputs: Mapping[str, Any], where: Where | None, shift: bool
) -> Logits:
    """Logits everywhere, or the rows ``logits[where]``; `model` is the network or a wrapper around it.

    With a `shift` the output at i - 1 says token i; of the first token nothing is known.
    """
    if where is None:
        logits: Tensor = model(**inputs).logits
        return torch.cat([torch.zeros_like(logits[:, :1]), logits[:, :-1]], dim=1) if shift else logits
    with _only_at(before(where) if shift else where, _last_mixing(network)):
        asked: Tensor = model(**inputs).logits
    return asked[0]


def hidden_of(
    network: PreTrainedModel, inputs: Mapping[str, Any], where: Where, shift: bool
) -> Float[Tensor, "asked width"]:
    """The last hidden states of the network's body, where the logits at `where` are made of them."""
    output = network.base_model(**inputs)
    hidden: Tensor = output[0]
    return hidden[before(where) if shift else where]


@contextmanager
def _only_at(where: Where, mixing: nn.Module) -> Iterator[None]:
    """Let everything above `mixing` see only the chosen hidden states, as one row of [1, asked, hidden].

    What comes there works token by token, so its outputs are the same.
    """

    def choose(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output[where][None]
        chosen = output[0][where][None]
        if isinstance(output, tuple):
            return (chosen, *output[1:])
        output.last_hidden_state = chosen
        return output

    handle = mixing.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _last_mixing(network: PreTrainedModel) -> nn.Module:
    """The last module in which tokens look at each other.

    At the latest it is the body, below the vocabulary head, which serves every family without naming it.
    Where the layout of the layers is known it is the last attention, so that the rest of that layer is spared
    too. A layer that is compiled, told the time, or run again for the backward pass, is left as it is.
    """
    body = network.base_model
    known = _LAST_MIXING.get(network.config.model_type)
    is_told = vars(network.config).get("time_conditioning", False)
    if known is None or is_told or (torch.is_grad_enabled() and _runs_again(network)):
        return body
    layers, mixing = known
    last = body.get_submodule(layers).get_submodule(str(network.config.num_hidden_layers - 1))
    return body if last._compiled_call_impl is not None else last.get_submodule(mixing)


def _runs_again(network: nn.Module) -> bool:
    """Whether layers are computed a second time for the backward pass, when hooks are gone."""
    return any(getattr(module, "gradient_checkpointing", False) for module in network.modules())


_LAST_MIXING = {
    "diffusion_transformer": ("layers", "mixed"),
    **dict.fromkeys(
        ("bert", "camembert", "electra", "mpnet", "roberta", "xlm-roberta"), ("encoder.layer", "attention")
    ),
}
"""By type of model: the list of layers, and what in a layer is followed by work on single tokens alone."""


def _position_table(network: PreTrainedModel) -> nn.Embedding | None:
    for name, module in network.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None


def _position_offset(network: PreTrainedModel) -> int:
    """RoBERTa and its kin reserve the position `padding_idx` for padding and count from the one after it."""
    table = _position_table(network)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1
