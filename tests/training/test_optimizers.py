"""Parameter groups and Muon."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerBase

from textdiffusion.training.decays import DECAYS
from textdiffusion.training.network import new_network
from textdiffusion.training.optimizers import OPTIMIZERS, orthogonalised

from .conftest import Recipe


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 1000))
def test_orthogonalised_brings_singular_values_near_one(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 10.0**-3
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    matrix = left @ torch.diag(values.clamp(min=float(values.max()) / 20)) @ right
    found = torch.linalg.svdvals(orthogonalised(matrix, torch.float32))
    assert 0.6 < float(found.min()) <= float(found.max()) < 1.3


def test_orthogonalised_of_zero_is_zero() -> None:
    assert not bool(orthogonalised(torch.zeros(3, 5), torch.float32).any())


@pytest.fixture(params=["ours", "bert"])
def network(
    request: pytest.FixtureRequest, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, bert: Any
) -> nn.Module:
    if request.param == "bert":
        model: nn.Module = AutoModelForMaskedLM.from_pretrained(bert)
        return model
    return new_network(recipe(), tokenizer)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_only_matrices_of_layers_decay_and_each_parameter_comes_once(
    recipe: Recipe, network: nn.Module, name: str
) -> None:
    optimizer = OPTIMIZERS[name](network, recipe(weight_decay=0.1))
    names = {id(p): key for key, p in network.named_parameters()}
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(listed) == sorted(names)
    decayed = {
        names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]
    }
    assert decayed == {key for key, p in network.named_parameters() if p.ndim == 2 and "embed" not in key}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize("decay", list(DECAYS))
def test_every_rate_rises_and_falls_with_every_optimiser(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, name: str, decay: str
) -> None:
    made = recipe(optimizer=name, decay=decay)
    optimizer = OPTIMIZERS[name](new_network(made, tokenizer), made)
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = made.falling().scheduler(optimizer, 10, 0.2)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert all(0.0 < group["lr"] <= peak for group, peak in zip(optimizer.param_groups, peaks, strict=True))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_an_output_layer_of_its_own_does_not_decay(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, name: str
) -> None:
    made = recipe(network={**recipe().network, "tie_word_embeddings": False})
    model = new_network(made, tokenizer)
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    assert head.weight is not model.get_input_embeddings().weight
    (group,) = [
        group
        for group in OPTIMIZERS[name](model, made).param_groups
        if any(p is head.weight for p in group["params"])
    ]
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_state_comes_back(recipe: Recipe, network: nn.Module, name: str) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for number, p in enumerate(model.parameters()):
            p.grad = torch.full_like(p, 0.1 * (number + 1)) * p.detach().cos()
        optimizer.step()

    first = OPTIMIZERS[name](network, recipe())
    step(network, first)
    twin = copy.deepcopy(network)
    second = OPTIMIZERS[name](twin, recipe())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    step(network, first)
    step(twin, second)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_a_closure_is_called_before_the_step(recipe: Recipe, network: nn.Module) -> None:
    optimizer = OPTIMIZERS["muon"](network, recipe())
    before = [p.detach().clone() for p in network.parameters()]

    def closure() -> float:
        assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        loss = sum(p.square().sum() for p in network.parameters())
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        return float(loss.detach())

    loss = optimizer.step(closure)
    assert loss is not None
    assert not all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
