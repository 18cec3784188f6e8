"""From seeing the left alone to seeing both sides."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel

from textdiffusion.attention import opened
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.annealed import RAMPS, Annealed, openness
from textdiffusion.randomness import RowGenerator

from .test_transformer import build

VOCAB, LENGTH = 30, 10
NOW = torch.zeros(3, 1)
ENDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0}


def gpt2() -> PreTrainedModel:
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    config = GPT2Config(vocab_size=VOCAB, initializer_range=0.3, **sizes, **ENDS)
    found: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return found.eval()


def llama() -> PreTrainedModel:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=VOCAB, intermediate_size=24, initializer_range=0.3, **sizes, **ENDS)
    found: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return found.eval()


@pytest.fixture(params=[gpt2, llama, build])
def network(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    found: PreTrainedModel = request.param()
    set_reading(found, block_size=None, shift=True)
    return found


def view(
    denoiser: Denoiser, share: float, *, first: int = 0, per_row: bool = False, step: int = 0
) -> Annealed:
    draws = RowGenerator.for_batch(3, step, first=first, rows=3, total=6)
    return Annealed(denoiser, share, draws, per_row)


def tokens() -> Tensor:
    return torch.randint(0, VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_closed_it_is_causal_and_open_it_sees_all(network: PreTrainedModel) -> None:
    denoiser, xt = denoiser_of(network), tokens()
    causal = torch.ones(LENGTH, LENGTH).tril().bool().expand(3, -1, -1)
    torch.testing.assert_close(view(denoiser, 0.0)(xt, NOW), denoiser(xt, NOW, attend=causal))
    torch.testing.assert_close(view(denoiser, 1.0)(xt, NOW), denoiser(xt, NOW))
    set_reading(network, block_size=1, shift=True)
    torch.testing.assert_close(view(denoiser, 0.0)(xt, NOW), denoiser(xt, NOW))
    half = view(denoiser, 0.5)(xt, NOW)
    assert not torch.allclose(half, denoiser(xt, NOW))


@torch.inference_mode()
def test_padding_stays_unseen(network: PreTrainedModel) -> None:
    denoiser, xt, valid = denoiser_of(network), tokens(), torch.arange(LENGTH).expand(3, -1) < 7
    found = view(denoiser, 0.7)(xt, NOW, attend=valid, where=valid)
    other = torch.where(valid, xt, (xt + 1) % VOCAB)
    torch.testing.assert_close(view(denoiser, 0.7)(other, NOW, attend=valid, where=valid), found)


@torch.inference_mode()
def test_one_mask_for_the_batch_of_all_processes_or_one_for_each_text(network: PreTrainedModel) -> None:
    denoiser, xt = denoiser_of(network), tokens()[:1].expand(3, -1)
    shared = view(denoiser, 0.5)(xt, NOW)
    torch.testing.assert_close(shared[0], shared[2])
    torch.testing.assert_close(view(denoiser, 0.5, first=3)(xt, NOW), shared)
    assert not torch.allclose(view(denoiser, 0.5, step=1)(xt, NOW), shared)
    rows = view(denoiser, 0.5, per_row=True)(xt, NOW)
    assert not torch.allclose(rows[0], rows[2])


@given(length=st.integers(1, 40), share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_what_is_opened_is_the_share_and_never_less_than_causal(length: int, share: float, seed: int) -> None:
    u = torch.rand(4, length, length, generator=torch.Generator().manual_seed(seed))
    seen = opened(u, share)
    assert bool(seen[:, torch.ones(length, length).tril().bool()].all())
    later = seen[:, torch.ones(length, length).triu(1).bool()].float()
    if later.numel() > 400:
        assert abs(float(later.mean()) - share) < 5 * (0.25 / later.numel()) ** 0.5


@pytest.mark.parametrize("ramp", list(RAMPS))
def test_ramps_rise_from_the_first_step_to_the_last(ramp: str) -> None:
    shares = [openness(step, 10, ramp) for step in range(12)]
    assert all(0.0 < share <= 1.0 for share in shares)
    assert all(a <= b for a, b in pairwise(shares))
    assert shares[8] < 1.0 == shares[9] == shares[11]
    assert openness(0, 0, ramp) == openness(0, 1, ramp) == 1.0


def test_the_linear_ramp_is_the_published_one() -> None:
    assert [openness(step, 4, "linear") for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
