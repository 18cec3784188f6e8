"""Generations that begin in a text: the law from there on, what is hidden again, and what is restored."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import CORRUPTIONS, Absorbing, Corruption
from textdiffusion.denoisers import as_denoiser
from textdiffusion.errors import SettingsError
from textdiffusion.generation import Decoding, Frame, Start, denoise
from textdiffusion.generation.doubts import remasked
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import Linear

from .oracle import LENGTH, MASK, oracle

SAMPLES = 8000
VOCAB, BLANK = 20, 19
TRUTH = torch.arange(3, 15)[None]
RANDOM = CORRUPTIONS["pure-random"](BLANK, VOCAB, Linear())
LLADA = CORRUPTIONS["llada"](BLANK, VOCAB, Linear())


def whole(tokens: Tensor) -> Canvas:
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return Canvas(tokens, everywhere, everywhere)


# -- the law ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("first-hitting", {}),
        ("ancestral", {"steps": 300}),
        ("random", {"steps": 4}),
        ("posterior", {"steps": 300}),
    ],
)
@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_masks_in_a_draft_are_filled_by_the_law(sampler: str, options: dict[str, Any], rate: float) -> None:
    """Texts of the joint with masks by chance: what comes out is of the joint again."""
    chance = torch.Generator().manual_seed(0)
    texts = oracle().texts[torch.multinomial(oracle().joint, SAMPLES, replacement=True, generator=chance)]
    masked = torch.rand(texts.shape, generator=chance) < rate
    start = Start(texts.masked_fill(masked, MASK), rate)
    decoding = Decoding().changed({"sampler": sampler, **options})
    rows = RowGenerator.for_rows(range(SAMPLES))
    canvas = whole(torch.full_like(texts, MASK))
    frames = list(denoise(as_denoiser(oracle()), Absorbing(MASK), canvas, decoding, rows, start=start))
    assert torch.equal(frames[0].tokens, start.tokens)
    assert torch.equal(frames[0].settled, ~masked)
    assert torch.equal(frames[-1].tokens[~masked], texts[~masked])
    share = (oracle().joint * SAMPLES).numpy()
    assert chisquare(oracle().counts(frames[-1].tokens), share).pvalue > 1e-3


def test_masks_fall_evenly_from_what_there_is() -> None:
    """Of ten words four are hidden: two steps write two each, whatever the share was said to be."""
    tokens = torch.tensor([[1, 2, MASK, 1, MASK, 2, 0, MASK, 1, MASK]])
    even = as_denoiser(lambda ids: torch.zeros(*ids.shape, 4))
    start, rows = Start(tokens, 0.9), RowGenerator.for_rows([0])
    decoding = Decoding(sampler="random", steps=2)
    frames = list(denoise(even, Absorbing(MASK), whole(tokens), decoding, rows, start=start))
    assert [int((frame.tokens == MASK).sum()) for frame in frames] == [4, 2, 0]


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_goes_on_from_a_draft(sampler: str) -> None:
    tokens = torch.tensor([[1, 2, MASK, 1], [MASK, MASK, MASK, 0], [0, 1, 2, 2]])
    start, rows = Start(tokens, 0.5), RowGenerator.for_rows(range(3))
    for options in ({}, {"steps": 2}, {"block_size": 2}):
        decoding = Decoding().changed({"sampler": sampler, **options})
        frames = list(
            denoise(as_denoiser(oracle()), Absorbing(MASK), whole(tokens), decoding, rows, start=start)
        )
        assert not bool((frames[-1].tokens == MASK).any())
        assert bool(frames[-1].settled.all())


def test_only_what_may_be_written_is_taken_from_the_start() -> None:
    given = torch.tensor([[0, 1, 2, 1]])
    canvas = Canvas(given, torch.tensor([[False, True, True, False]]), torch.ones(1, 4, dtype=torch.bool))
    start = Start(torch.full((1, LENGTH), MASK), 1.0)
    first, *_ = denoise(
        as_denoiser(oracle()), Absorbing(MASK), canvas, Decoding(), RowGenerator.for_rows([0]), start=start
    )
    assert first.tokens.tolist() == [[0, MASK, MASK, 1]]


# -- doubt -----------------------------------------------------------------------------------------------


def knowing(tokens: Tensor) -> Tensor:
    """It knows the text by heart, whatever stands there."""
    return torch.nn.functional.one_hot(TRUTH.expand(tokens.shape), VOCAB).float() * 12.0


def spoilt(places: tuple[int, ...]) -> Tensor:
    text = TRUTH.clone()
    text[0, list(places)] = torch.arange(len(places)) % 3
    return text


@pytest.mark.parametrize("looks", [1, 3, 12, 40])
def test_what_is_wrong_is_hidden(looks: int) -> None:
    draft = whole(torch.cat([spoilt((1, 7, 8)), spoilt((0, 5, 11)), TRUTH]))
    start = remasked(as_denoiser(knowing), Absorbing(BLANK), draft, 0.25, looks=looks)
    hidden = (start.tokens == BLANK).nonzero().tolist()
    assert hidden == [[0, 1], [0, 7], [0, 8], [1, 0], [1, 5], [1, 11]]
    assert start.calls == 2 * min(looks, 12)  # the second reading finds what the first one did
    assert start.read is not None
    assert start.read.tolist() == [12 * start.calls] * 3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_token_is_hidden_where_writing_another_restores_more_than_it_spoils(rate: float) -> None:
    """By the joint law of a token, and of an even error at that rate, given the tokens around it.

    A single token is read at a time, in sight of all others, so that its law is the oracle's conditional.
    """
    words = 3
    p = oracle().joint.view(3, 3, 3, 3)
    for place in range(LENGTH):
        texts = oracle().texts
        here = torch.zeros_like(texts, dtype=torch.bool)
        here[:, place] = True
        canvas = Canvas(texts, here, torch.ones_like(here))
        start = remasked(as_denoiser(oracle()), Absorbing(MASK), canvas, rate, looks=1, banned=())
        for row, text in enumerate(texts.tolist()):
            index: list[Any] = list(text)
            index[place] = slice(None)
            meant = p[tuple(index)] / p[tuple(index)].sum()
            chance = torch.full((words,), rate / words, dtype=torch.float64)
            chance[text[place]] += 1.0 - rate
            after = meant * chance
            gain = float(after.max() - after[text[place]])
            if abs(gain) > 1e-6:
                assert bool(start.tokens[row, place] == MASK) is (gain > 0.0)


def test_what_is_doubted_misleads_nobody() -> None:
    """Tokens follow the one before, and less the one behind: a wrong one casts doubt on the next."""

    def following(ids: Tensor) -> Tensor:
        edge = torch.full_like(ids[:, :1], BLANK)
        before, behind = torch.cat([edge, ids[:, :-1]], 1), torch.cat([ids[:, 1:], edge], 1)
        one_hot = torch.nn.functional.one_hot
        return (8.0 * one_hot(before, VOCAB) + 5.0 * one_hot(behind, VOCAB)) * (torch.arange(VOCAB) != BLANK)

    text = torch.zeros(1, 12, dtype=torch.int64)
    text[0, 2] = 1
    start = remasked(as_denoiser(following), Absorbing(BLANK), whole(text), 0.9, looks=12)
    assert (start.tokens == BLANK).nonzero().tolist() == [[0, 2]]
    assert start.calls == 3 * 12


def test_what_is_never_written_was_never_meant() -> None:
    draft = whole(spoilt((1,)))
    banned = TRUTH.unique().tolist()
    start = remasked(as_denoiser(knowing), Absorbing(BLANK), draft, 0.5, looks=4, banned=banned)
    assert torch.equal(start.tokens, draft.tokens)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4),
    length=st.integers(1, 9),
    looks=st.integers(1, 10),
    rate=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**31),
)
def test_the_batch_does_not_matter(rows: int, length: int, looks: int, rate: float, seed: int) -> None:
    """Each draft is judged as if it were alone, and only where it may be written."""
    random = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCAB, VOCAB, generator=random) * 4.0
    denoiser = as_denoiser(lambda ids: table[ids.roll(1, 1)] + table[ids.roll(-1, 1)])
    tokens = torch.randint(0, BLANK, (rows, length), generator=random)
    free = torch.rand(rows, length, generator=random) < 0.7
    every = torch.ones_like(free)
    judged = [
        remasked(denoiser, Absorbing(BLANK), Canvas(tokens[part], free[part], every[part]), rate, looks=looks)
        for part in [slice(None), *(slice(row, row + 1) for row in range(rows))]
    ]
    hidden = judged[0].tokens == BLANK
    assert not bool((hidden & ~free).any())
    assert torch.equal(torch.cat([alone.tokens for alone in judged[1:]]), judged[0].tokens)


def test_what_is_no_share_is_refused() -> None:
    for rate in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(SettingsError, match="noise_rate is"):
            Start(TRUTH, rate)
    with pytest.raises(SettingsError, match="looks is 0"):
        remasked(as_denoiser(knowing), Absorbing(BLANK), whole(TRUTH), 0.5, looks=0)


# -- restoring -------------------------------------------------------------------------------------------


def restored(corruption: Corruption, start: Start, sampler: str, **options: Any) -> list[Frame]:
    decoding = Decoding().changed({"sampler": sampler, **options})
    rows = RowGenerator.for_rows([3])
    canvas = whole(torch.full_like(TRUTH, BLANK))
    return list(denoise(as_denoiser(knowing), corruption, canvas, decoding, rows, start=start))


@pytest.mark.parametrize("sampler", ["confidence", "threshold", "ancestral", "refine", "any-position"])
def test_a_model_that_knows_restores_by_masks(sampler: str) -> None:
    start = remasked(as_denoiser(knowing), Absorbing(BLANK), whole(spoilt((2, 3, 9))), 0.25, looks=4)
    assert torch.equal(restored(Absorbing(BLANK), start, sampler)[-1].tokens, TRUTH)


@pytest.mark.parametrize("corruption", [RANDOM, LLADA], ids=["random", "llada"])
@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("any-position", {}),
        ("any-position", {"steps": 2}),
        ("entropy-renoise", {"steps": 4}),
        ("posterior", {}),
    ],
)
def test_a_model_that_knows_restores_from_the_draft(
    corruption: Corruption, sampler: str, options: dict[str, Any]
) -> None:
    """With masks among the wrong words, if the noise has any."""
    draft = spoilt((2, 3, 9))
    if corruption is LLADA:
        draft[0, 6] = BLANK
    frames = restored(corruption, Start(draft, 0.25), sampler, **options)
    assert torch.equal(frames[0].tokens, draft)
    assert torch.equal(frames[-1].tokens, TRUTH)
    if sampler == "any-position" and not options:
        changed = [int((a.tokens != b.tokens).sum()) for a, b in pairwise(frames)]
        assert changed == ([2, 2, 0] if corruption is LLADA else [2, 1, 0])


def test_a_right_draft_stays_as_it_is() -> None:
    frames = restored(RANDOM, Start(TRUTH, 0.3), "any-position")
    assert frames[-1].nfe == 1
    assert torch.equal(frames[-1].tokens, TRUTH)
