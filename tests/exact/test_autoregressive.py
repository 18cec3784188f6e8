"""The autoregressive baseline: exact, cached, and scored by the very loss that trained it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedModel

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.generation import Decoding, Frame, denoise
from textdiffusion.objectives import NextToken
from textdiffusion.randomness import RowGenerator

VOCAB, MASK, END = 12, 11, 10
CORRUPTION = Absorbing(MASK)
LENGTHS = [(3, 6), (1, 4), (5, 2), (4, 6)]
"""Prompt and new tokens of each text."""


def gpt2() -> PreTrainedModel:
    sizes: dict[str, Any] = {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    config = GPT2Config(**sizes, initializer_range=0.5, bos_token_id=END, eos_token_id=END)
    found: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return found


def own() -> PreTrainedModel:
    config = DiffusionTransformerConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.5,
    )
    network = DiffusionTransformerForMaskedLM(config).eval()
    set_reading(network, block_size=1, shift=True)
    return network


@pytest.fixture(params=[gpt2, own])
def network(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    found: PreTrainedModel = request.param()
    return found


@pytest.fixture
def denoiser(network: PreTrainedModel) -> Denoiser:
    return denoiser_of(network)


def canvas(lengths: Sequence[tuple[int, int]] = LENGTHS) -> Canvas:
    draws = torch.Generator().manual_seed(5)
    prompts = [torch.randint(0, END, (given,), generator=draws).tolist() for given, _ in lengths]
    return Canvas.from_prompts(prompts, [new for _, new in lengths], pad_id=0)


def run(
    denoiser: Denoiser,
    text: Canvas,
    *,
    seeds: Sequence[int] | None = None,
    end: int | None = None,
    banned: Sequence[int] = (),
    sampler: str = "autoregressive",
    **options: Any,
) -> list[Frame]:
    rows = RowGenerator.for_rows(range(len(text.tokens)) if seeds is None else seeds)
    decoding = Decoding().changed({"sampler": sampler, **options})
    return list(
        denoise(denoiser, CORRUPTION, text, decoding, rows, banned=banned, ends=() if end is None else (end,))
    )


def causal(denoiser: Denoiser, tokens: Tensor) -> Tensor:
    """Log-probabilities of the next token after each one, in one call without a memory."""
    longer = torch.cat([tokens, tokens[:, :1]], dim=1)  # the one behind the last is asked about, never seen
    seen = torch.ones(longer.shape[1], longer.shape[1]).tril().bool().expand(len(tokens), -1, -1)
    logits = denoiser(longer, torch.zeros(len(tokens), 1), attend=seen)[:, 1:]
    return CORRUPTION.clean_logits(logits).log_softmax(-1)


# -- what is written -------------------------------------------------------------------------------------


@torch.inference_mode()
def test_greedy_text_is_the_most_probable_next_token_each_time(denoiser: Denoiser) -> None:
    text, last = canvas(), run(denoiser, canvas(), temperature=0.0)[-1]
    for row, (given, new) in enumerate(LENGTHS):
        tokens = text.tokens[row : row + 1, :given]
        for _ in range(new):
            tokens = torch.cat([tokens, causal(denoiser, tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
        assert last.tokens[row, : given + new].tolist() == tokens[0].tolist()


@torch.inference_mode()
def test_it_is_the_text_that_transformers_writes() -> None:
    torch.manual_seed(0)
    network: Any = gpt2()
    last = run(denoiser_of(network), canvas([(3, 8)]), temperature=0.0, banned=[END])[-1]
    expected = network.generate(
        last.tokens[:, :3],
        attention_mask=torch.ones(1, 3, dtype=torch.int64),
        max_new_tokens=8,
        do_sample=False,
        suppress_tokens=[MASK, END],
        pad_token_id=END,
    )
    assert last.tokens.tolist() == expected.tolist()


@torch.inference_mode()
def test_what_is_sampled_is_what_training_scores(denoiser: Denoiser) -> None:
    """The probabilities of the written tokens are the loss of the objective next-token on the text."""
    text, last = canvas(), run(denoiser, canvas())[-1]
    written = Canvas(last.tokens, text.editable, text.valid)
    scores = NextToken()(denoiser, CORRUPTION, written, RowGenerator.for_rows([0] * len(LENGTHS)))
    found = -last.confidence.log()[text.editable]
    torch.testing.assert_close(found, scores.nats[text.editable], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_draws_follow_the_joint(denoiser: Denoiser) -> None:
    samples, prompt = 4000, [3, 7]
    pairs = torch.cartesian_prod(torch.arange(MASK), torch.arange(MASK))
    whole = torch.cat([torch.tensor([prompt]).expand(len(pairs), -1), pairs], dim=1)
    given = causal(denoiser, whole)
    joint = torch.stack([given[:, at - 1].gather(1, whole[:, at, None])[:, 0] for at in (2, 3)]).sum(0).exp()
    assert float(joint.sum()) == pytest.approx(1.0, abs=1e-5)
    text = Canvas.from_prompts([prompt] * samples, [2] * samples, pad_id=0)
    last = run(denoiser, text)[-1].tokens[:, 2:]
    counts = torch.bincount(last[:, 0] * MASK + last[:, 1], minlength=len(pairs))
    common = joint * samples > 5
    observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
    expected = torch.cat([joint[common], joint[~common].sum()[None]]).double()
    assert chisquare(observed, expected / expected.sum() * samples).pvalue > 1e-3


@torch.inference_mode()
def test_a_text_alone_is_the_text_in_a_batch(denoiser: Denoiser) -> None:
    whole, together = canvas(), run(denoiser, canvas())[-1].tokens
    for row, (given, new) in enumerate(LENGTHS):
        here = (slice(row, row + 1), slice(given + new))
        alone = Canvas(whole.tokens[here], whole.editable[here], whole.valid[here])
        assert torch.equal(run(denoiser, alone, seeds=[row])[-1].tokens, together[here])


@torch.inference_mode()
def test_holes_are_written_in_sight_of_what_stands_before(denoiser: Denoiser) -> None:
    holes = [False, False, True, False, True, False]
    last = run(denoiser, Canvas.from_rows([[1, 2, 0, 4, 0, 6]], [holes], pad_id=0), temperature=0.0)[
        -1
    ].tokens
    for at in (2, 4):
        assert int(last[0, at]) == int(causal(denoiser, last[:, :at])[0, -1].argmax())
    assert last[0, [0, 1, 3, 5]].tolist() == [1, 2, 4, 6]


# -- what it costs, and when it ends ---------------------------------------------------------------------


@torch.inference_mode()
def test_every_token_is_read_once(denoiser: Denoiser, network: PreTrainedModel) -> None:
    read = []
    table = network.get_input_embeddings()
    assert table is not None
    handle = table.register_forward_pre_hook(lambda module, args: read.append(args[0].shape[1]))
    frames = run(denoiser, canvas([(3, 6), (3, 6)]))
    handle.remove()
    assert read == [3, 1, 1, 1, 1, 1]
    assert [frame.nfe for frame in frames] == list(range(7))


@torch.inference_mode()
def test_a_text_ends_where_its_end_is_written(denoiser: Denoiser) -> None:
    text = canvas([(3, 12)] * 20)
    free, ended = run(denoiser, text)[-1].tokens[:, 3:], run(denoiser, text, end=END)[-1]
    assert bool((free[:, :-1] == END).any())
    for row, tokens in enumerate(ended.tokens[:, 3:].tolist()):
        length = tokens.index(END) if END in tokens else len(tokens)
        assert tokens[:length] == free[row, :length].tolist()
        assert set(tokens[length:]) <= {END}
    assert bool(ended.settled.all())
    short = int((free == END).any(1).nonzero()[0])
    alone = run(denoiser, Canvas(*(part[short : short + 1] for part in parts(text))), seeds=[short], end=END)
    assert alone[-1].nfe == free[short].tolist().index(END) + 1


def parts(text: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    return text.tokens, text.editable, text.valid


# -- refusals --------------------------------------------------------------------------------------------


def test_there_must_be_something_to_begin_with(denoiser: Denoiser) -> None:
    with pytest.raises(SettingsError, match="nothing stands before the first token"):
        run(denoiser, canvas([(0, 3)]))


@pytest.mark.parametrize("cache", ["none", "prefix"])
def test_its_cache_is_exact(denoiser: Denoiser, cache: str) -> None:
    plain, said = (run(denoiser, canvas(), **options)[-1] for options in ({}, {"cache": "exact"}))
    assert torch.equal(plain.tokens, said.tokens)
    with pytest.raises(IncompatibleError, match=f"cache {cache}: .* exact memory"):
        run(denoiser, canvas(), cache=cache)
