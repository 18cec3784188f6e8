"""Soft tokens: of weight 1 they are the tokens themselves, else they are the mean of their embeddings."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, RobertaConfig

from textdiffusion.denoisers import as_denoiser
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.denoisers.annealed import Annealed
from textdiffusion.denoisers.causal_lm import CausalLMDenoiser
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.errors import IncompatibleError
from textdiffusion.randomness import RowGenerator
from textdiffusion.soft_tokens import SoftTokens

from .test_time import NETWORKS, OTHERS, SMALL, heeding, network_of
from .test_transformer import build, ids

ROWS, LENGTH = 2, 9
TIME = torch.tensor([[0.2], [0.9]])
WHERE = torch.arange(ROWS * LENGTH).view(ROWS, LENGTH) % 3 == 1


@pytest.fixture(params=[*NETWORKS, "roberta"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    """Each told the time, which it heeds."""
    monkeypatch.setitem(OTHERS, "roberta", RobertaConfig(**SMALL))
    return heeding(network_of(request.param))


def text() -> Tensor:
    return 3 + ids(ROWS, LENGTH) % 27


def mixed() -> SoftTokens:
    """Three tokens in each place."""
    draws = torch.Generator().manual_seed(5)
    weights = torch.rand(ROWS, LENGTH, 3, generator=draws)
    return SoftTokens(
        torch.stack([text(), (text() + 1) % 30, (text() + 2) % 30], dim=-1), weights / weights.sum(-1, True)
    )


def test_each_has_its_adapter(network: PreTrainedModel) -> None:
    assert isinstance(denoiser_of(network), MaskedLMDenoiser | CausalLMDenoiser | OwnDenoiser)


@torch.inference_mode()
def test_of_weight_one_it_is_the_token_itself(network: PreTrainedModel) -> None:
    denoiser, xt = denoiser_of(network), text()
    valid = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    valid[0, 6:] = False
    positions = torch.arange(LENGTH).expand(ROWS, -1)
    more = SoftTokens.hard(xt)
    more = SoftTokens(
        torch.cat([more.ids, mixed().ids], -1), torch.cat([more.weights, 0.0 * mixed().weights], -1)
    )
    told: list[dict[str, Any]] = [
        {},
        {"where": WHERE},
        {"attend": valid, "positions": positions, "where": WHERE & valid},
    ]
    for given in told:
        expected = denoiser(xt, TIME, **given)
        for soft in (SoftTokens.hard(xt), more):
            assert torch.equal(denoiser.soft(soft, TIME, **given), expected)
    assert not torch.equal(denoiser.soft(mixed(), TIME), denoiser(xt, TIME))
    assert torch.equal(denoiser(xt, TIME), denoiser.soft(more, TIME))  # nothing is left behind


@torch.inference_mode()
def test_it_is_the_mean_of_the_embeddings(network: PreTrainedModel) -> None:
    """A token of the table that is that mean reads alike."""
    soft, denoiser = mixed(), denoiser_of(network)
    found = denoiser.soft(soft, TIME)
    table = network.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    means = (table.weight[soft.ids] * soft.weights[..., None]).sum(2).flatten(0, 1)
    head = deepcopy(network.get_output_embeddings())
    assert head is not None
    network.set_output_embeddings(head)  # no longer tied
    network.set_input_embeddings(nn.Embedding.from_pretrained(torch.cat([table.weight, means])))
    new = 30 + torch.arange(ROWS * LENGTH).view(ROWS, LENGTH)
    torch.testing.assert_close(denoiser_of(network)(new, TIME), found, atol=1e-5, rtol=1e-4)


def test_all_its_tokens_learn(network: PreTrainedModel) -> None:
    soft = mixed()
    denoiser_of(network).soft(soft, TIME, where=WHERE).logsumexp(-1).sum().backward()
    gradient = network.get_input_embeddings().weight.grad
    assert isinstance(gradient, Tensor) and bool(gradient.isfinite().all())
    assert bool(gradient[soft.ids[0, 1]].abs().sum(-1).gt(0.0).all())


@torch.inference_mode()
def test_a_view_passes_them_on() -> None:
    denoiser, draws = denoiser_of(build()), RowGenerator.for_rows([0, 1])
    view = Annealed(denoiser, 0.5, draws)
    assert torch.equal(view.soft(SoftTokens.hard(text()), TIME), view(text(), TIME))
    assert not torch.equal(view.soft(mixed(), TIME), denoiser.soft(mixed(), TIME))


def test_what_reads_ids_alone_says_so() -> None:
    plain = as_denoiser(lambda tokens: torch.zeros(*tokens.shape, 30))
    with pytest.raises(IncompatibleError, match=r"^a FunctionDenoiser reads ids alone .* such as nelbo\.$"):
        plain.soft(mixed(), TIME)


def test_what_does_not_ask_its_table_says_so() -> None:
    network = build()
    network.get_input_embeddings = lambda: nn.Embedding(30, 32)  # type: ignore[method-assign]
    with pytest.raises(IncompatibleError, match="does not look its tokens up one by one"):
        denoiser_of(network).soft(mixed(), TIME)


def test_nothing_is_left_behind_by_an_error() -> None:
    network = build()
    with pytest.raises(IndexError):
        denoiser_of(network).soft(SoftTokens.hard(text() + 1000), TIME)
    assert torch.equal(denoiser_of(network)(text(), TIME), denoiser_of(build())(text(), TIME))
