"""Gradient checkpointing: the same losses and gradients, from less that is kept."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers.adapt import denoiser_of, recompute_activations, set_reading
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import IncompatibleError
from textdiffusion.evaluation.memory import kept
from textdiffusion.objectives import BlockNelbo, Nelbo, Objective
from textdiffusion.randomness import RowGenerator

VOCAB, MASK, LAYERS = 40, 39, 4
SIZES: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def own() -> PreTrainedModel:
    config = DiffusionTransformerConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, **SIZES)
    return DiffusionTransformerForMaskedLM(config)


def bert() -> PreTrainedModel:
    # Its last layer sees the asked tokens alone unless it is run again, so dropout would fall otherwise.
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=VOCAB, num_hidden_layers=LAYERS, **SIZES, **none)
    return BertForMaskedLM(config)


def gpt2() -> PreTrainedModel:
    sizes = {"n_embd": 32, "n_layer": LAYERS, "n_head": 2, "n_positions": 64}
    config = GPT2Config(vocab_size=VOCAB, bos_token_id=0, eos_token_id=0, **sizes)
    assert config.resid_pdrop > 0
    return GPT2LMHeadModel(config)


CASES: dict[str, tuple[Callable[[], PreTrainedModel], Objective]] = {
    "own": (own, Nelbo()),
    "own in blocks": (own, BlockNelbo(4)),
    "bert": (bert, Nelbo()),
    "gpt2": (gpt2, BlockNelbo(4)),
}


def step(network: PreTrainedModel, objective: Objective) -> tuple[float, dict[str, torch.Tensor], int]:
    """Loss, gradients and bytes kept of one training step, dropout included."""
    draws = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, MASK, (4, 24), generator=draws)
    valid = torch.arange(24)[None] < torch.tensor([[24], [20], [13], [24]])
    torch.manual_seed(2)
    network.zero_grad()
    with kept(network.parameters()) as found:
        generator = RowGenerator.for_batch(0, 0, first=0, rows=4, total=4)
        canvas = Canvas(tokens, valid.clone(), valid)
        scores = objective(denoiser_of(network), Absorbing(MASK), canvas, generator)
        loss = scores.nats.sum()
    loss.backward()
    return float(loss.detach()), dict(_gradients(network)), found.bytes


def _gradients(network: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    for name, p in network.named_parameters():
        if p.grad is not None:
            yield name, p.grad.clone()


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_stay_and_less_is_kept(case: str) -> None:
    make, objective = CASES[case]
    torch.manual_seed(0)
    network = make().train()
    if objective.block_size is not None:
        set_reading(network, block_size=objective.block_size, shift=False)
    loss, gradients, all_kept = step(network, objective)
    recompute_activations(network)
    again, others, less = step(network, objective)
    assert again == pytest.approx(loss, rel=1e-5)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5)
    assert less < 0.5 * all_kept


def test_what_cannot_recompute_is_refused() -> None:
    network = own()
    network.supports_gradient_checkpointing = False
    with pytest.raises(IncompatibleError, match=r"has no gradient checkpointing; leave .* out\.$"):
        recompute_activations(network)


def test_kept_bytes_are_those_of_distinct_storages() -> None:
    weight, x = torch.ones(3, 5, requires_grad=True), torch.ones(7, 3, requires_grad=True)
    with kept([weight]) as found:
        y = x @ weight  # keeps x (84 bytes) and the weight, which is there anyway
        z = y.exp()  # keeps its output (140 bytes)
        z[:, :2].square().sum()  # keeps a view of it
    assert found.bytes == 84 + 140
