"""Each layer read by the head of its network: as if the layers above it did nothing."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.denoisers.layers import by_layer
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig
from textdiffusion.errors import IncompatibleError

from .test_masked_lm import BEGIN_END, FAMILIES, SMALL, VOCAB

DEPTH = 3
CAUSAL: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=DEPTH, n_head=4, n_positions=34, **BEGIN_END),
    "llama": LlamaConfig(**{**SMALL, "num_hidden_layers": DEPTH}, **BEGIN_END),
}
OWN = {
    "own": DiffusionTransformerConfig(**{**SMALL, "num_hidden_layers": DEPTH}),
    "own in blocks": DiffusionTransformerConfig(
        **{**SMALL, "num_hidden_layers": DEPTH}, block_size=4, shift=True
    ),
}
ALL = {**FAMILIES, **CAUSAL, **OWN}


class Nothing(nn.Module):
    """A layer that lets the stream pass, in the form that the one in its place gave it."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.more = None if isinstance(output, Tensor) else len(output) - 1
        self.attention_type = "full_attention"

    def forward(self, *args: Any, **named: Any) -> Any:
        stream = args[0] if args else named["hidden_states"]
        return stream if self.more is None else (stream, *[None] * self.more)


def made(config: PreTrainedConfig) -> PreTrainedModel:
    kind = AutoModelForCausalLM if config in CAUSAL.values() else AutoModelForMaskedLM
    network = kind.from_config(copy.deepcopy(config))
    assert isinstance(network, PreTrainedModel)
    return network.eval()


def ask(network: PreTrainedModel) -> Tensor:
    ids = torch.arange(10, 22)[None]
    logits: Tensor = denoiser_of(network)(ids, torch.ones(1, 1))
    return logits


def layers_of(network: PreTrainedModel) -> nn.ModuleList:
    depth = network.config.num_hidden_layers
    lists = (part for part in network.base_model.modules() if isinstance(part, nn.ModuleList))
    return next(part for part in lists if len(part) == depth)


@pytest.mark.parametrize(
    "name", [name for name, config in ALL.items() if not isinstance(config, AlbertConfig)]
)
@torch.no_grad()
def test_the_layers_above_do_nothing(name: str) -> None:
    network = made(ALL[name])
    found = by_layer(network, lambda: ask(network))
    depth = network.config.num_hidden_layers
    assert len(found) == depth + 1
    assert torch.equal(found[-1], ask(network))
    for kept in range(depth):
        less = copy.deepcopy(network)
        layers, outputs = layers_of(less), list[Any]()
        handle = layers[0].register_forward_hook(lambda module, args, output, own=outputs: own.append(output))
        ask(less)
        handle.remove()
        for number in range(kept, depth):
            layers[number] = Nothing(outputs[0])
        torch.testing.assert_close(found[kept], ask(less))
        assert not torch.allclose(found[kept], found[-1])


@torch.no_grad()
def test_nothing_is_left_behind() -> None:
    network = made(OWN["own"])
    before = ask(network)
    by_layer(network, lambda: ask(network))
    assert torch.equal(ask(network), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_shared_layers_cannot_be_told_apart() -> None:
    (config,) = [config for config in FAMILIES.values() if isinstance(config, AlbertConfig)]
    network = made(config)
    with pytest.raises(IncompatibleError, match=r"Albert.* does not call its layers one by one"):
        by_layer(network, lambda: ask(network))
