"""What training scores is what sampling reads: in place and one ahead, over whole texts and over blocks."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import CachingDenoiser
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import SettingsError
from textdiffusion.generation import Decoding, Frame, denoise
from textdiffusion.mask_rates import UniformRates
from textdiffusion.objectives import BlockNelbo, CrossEntropy, NextToken, Objective
from textdiffusion.randomness import RowGenerator

VOCAB, MASK = 14, 13
CORRUPTION = Absorbing(MASK)
LENGTHS = [(3, 9), (1, 6), (6, 2), (2, 10)]
"""Prompt and new tokens of each text."""
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.4,
    "max_position_embeddings": 32,
}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}


def own() -> PreTrainedModel:
    return DiffusionTransformerForMaskedLM(DiffusionTransformerConfig(**SHAPE)).eval()


def gpt2() -> PreTrainedModel:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "initializer_range": 0.4}
    found: PreTrainedModel = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=VOCAB, **sizes, **ENDS))
    return found.eval()


def llama() -> PreTrainedModel:
    found: PreTrainedModel = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE, **ENDS))
    return found.eval()


NETWORKS = {}
for make in (own, gpt2, llama):
    torch.manual_seed(0)
    NETWORKS[make.__name__] = make()


def reading(name: str, block_size: int | None, *, shift: bool) -> CachingDenoiser:
    set_reading(NETWORKS[name], block_size=block_size, shift=shift)
    found = denoiser_of(NETWORKS[name])
    assert isinstance(found, CachingDenoiser)
    assert (found.block_size, found.shift) == (block_size, shift)
    return found


def canvas() -> Canvas:
    draws = torch.Generator().manual_seed(5)
    prompts = [torch.randint(1, MASK, (given_,), generator=draws).tolist() for given_, _ in LENGTHS]
    return Canvas.from_prompts(prompts, [new for _, new in LENGTHS], pad_id=0)


def run(denoiser: CachingDenoiser, text: Canvas, **options: Any) -> Frame:
    rows = RowGenerator.for_rows(range(len(text.tokens)))
    decoding = Decoding().changed({"sampler": "random", **options})
    return list(denoise(denoiser, CORRUPTION, text, decoding, rows))[-1]


@pytest.fixture(params=list(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def everything_masked(block_size: int | None) -> Objective:
    """Every editable token, or every one of each block, is masked."""
    if block_size is None:
        return CrossEntropy(UniformRates(low=1.0 - 1e-9, high=1.0))
    return BlockNelbo(block_size, low=0.999)


@pytest.mark.parametrize(
    ("block_size", "shift"), [(None, False), (None, True), (1, False), (3, False), (3, True), (16, True)]
)
@pytest.mark.parametrize("cache", ["none", None])
@torch.inference_mode()
def test_training_scores_what_sampling_reads(
    name: str, block_size: int | None, shift: bool, cache: str | None
) -> None:
    """All tokens of a block are written in one step, given what stands before, and scored the same way."""
    denoiser, text = reading(name, block_size, shift=shift), canvas()
    last = run(denoiser, text, steps=1, cache=cache)
    written = Canvas(last.tokens, text.editable, text.valid)
    rows = RowGenerator.for_rows(range(len(LENGTHS)))
    scores = everything_masked(block_size)(denoiser, CORRUPTION, written, rows)
    assert torch.equal(scores.asked, text.editable)
    expected = -last.confidence.log()[text.editable]
    torch.testing.assert_close(scores.cross_entropy[text.editable], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("block_size", [3, 4])
@torch.inference_mode()
def test_with_a_shift_the_memory_is_exact_too(name: str, block_size: int) -> None:
    denoiser, text = reading(name, block_size, shift=True), canvas()
    for sampler in ("confidence", "first-hitting"):
        plain, fast = (run(denoiser, text, sampler=sampler, cache=cache) for cache in ("none", "exact"))
        assert torch.equal(plain.tokens, fast.tokens)
        torch.testing.assert_close(plain.confidence, fast.confidence, atol=1e-4, rtol=1e-4, equal_nan=True)


@torch.inference_mode()
def test_answers_stand_where_their_tokens_do(name: str) -> None:
    tokens, now = canvas().tokens, torch.zeros(len(LENGTHS), 1)
    in_place = reading(name, None, shift=False)(tokens, now)
    ahead = reading(name, None, shift=True)
    torch.testing.assert_close(ahead(tokens, now)[:, 1:], in_place[:, :-1])
    assert bool((ahead(tokens, now)[:, 0] == 0.0).all())
    where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    where[:, 0] = False
    torch.testing.assert_close(ahead(tokens, now, where=where), ahead(tokens, now)[where])


@given(seed=st.integers(0, 99), lengths=st.lists(st.integers(2, 12), min_size=1, max_size=3))
@torch.inference_mode()
def test_blocks_of_one_with_a_shift_are_the_autoregressive_likelihood(seed: int, lengths: list[int]) -> None:
    denoiser = reading("own", 1, shift=True)
    draws = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, MASK, (length,), generator=draws).tolist() for length in lengths]
    text = Canvas.from_rows(rows, [[False, *[True] * (length - 1)] for length in lengths], pad_id=0)
    keys = RowGenerator.for_rows(range(len(lengths)))
    found, expected = (rule(denoiser, CORRUPTION, text, keys) for rule in (BlockNelbo(1), NextToken()))
    torch.testing.assert_close(found.nats, expected.nats, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_bound_is_that_of_the_kind_of_network(name: str) -> None:
    tokens = torch.randint(1, MASK, (2, 8), generator=torch.Generator().manual_seed(3))
    exact = td.nelbo(reading(name, 1, shift=True), tokens, mask_id=MASK, samples=3)
    assert bool((exact.standard_error == 0.0).all())
    causal = torch.ones(8, 8).tril().bool().expand(2, -1, -1)
    logits = reading(name, 1, shift=True)(tokens, torch.zeros(2, 1), attend=causal)
    logits[..., MASK] = -torch.inf
    nll = -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(exact.mean, nll[:, 1:].sum(1).double(), atol=1e-4, rtol=1e-4)
    whole = td.nelbo(reading(name, None, shift=True), tokens, mask_id=MASK, samples=4)
    assert bool((whole.standard_error > 0.0).all())


def test_the_first_token_cannot_be_asked_about() -> None:
    denoiser, tokens = reading("own", None, shift=True), torch.tensor([[3, 4, 5]])
    with pytest.raises(SettingsError, match="the first token is to be scored"):
        td.nelbo(denoiser, tokens, mask_id=MASK, samples=1, editable=torch.ones(1, 3, dtype=torch.bool))
    text = Canvas(tokens, torch.tensor([[True, False, True]]), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(SettingsError, match="nothing stands before the first token"):
        run(denoiser, text)


def test_a_network_that_never_saw_a_mask_is_sampled_with_a_warning(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    denoiser, text = reading(name, 1, shift=True), canvas()
    last = run(denoiser, text, sampler="confidence", steps=4)
    assert "never saw a mask" in caplog.text
    assert last.nfe <= 4
    assert bool(last.settled.all()) and MASK not in last.tokens


@torch.inference_mode()
def test_the_prefix_cache_of_a_causal_network(name: str) -> None:
    """What stands behind the block is read at every call, so that the first call of a block is exact."""
    denoiser, text = reading(name, None, shift=True), canvas()
    plain, fast = (run(denoiser, text, block_size=16, steps=1, cache=cache) for cache in ("none", "prefix"))
    assert torch.equal(plain.tokens, fast.tokens)
