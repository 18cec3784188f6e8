"""Samplers against a joint whose probabilities are known: which are exact, and what each rule does."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.generation import Decoding, Frame, denoise, sample
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import SCHEDULES, STEP_GRIDS

from .oracle import LENGTH, MASK, oracle

SAMPLES = 10_000
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
"""The model's own distribution, whatever the rule was published with."""


def drawn(sampler: str, steps: int | None = None, **options: Any) -> Tensor:
    """How often each text comes out."""
    canvas = torch.full((SAMPLES, LENGTH), MASK)
    source = torch.Generator().manual_seed(0)
    tokens = sample(
        oracle(), canvas, mask_id=MASK, sampler=sampler, steps=steps, generator=source, **{**PLAIN, **options}
    )
    assert int(tokens.max()) < MASK
    return oracle().counts(tokens)


def fit(counts: Tensor) -> float:
    """p-value of the draws under the oracle's joint."""
    return float(chisquare(counts, (oracle().joint * counts.sum()).numpy()).pvalue)


def distance(counts: Tensor) -> float:
    """Total variation between the draws and the joint."""
    return float((counts / counts.sum() - oracle().joint).abs().sum() / 2)


# -- exactness -------------------------------------------------------------------------------------------

EXACT: list[tuple[str, dict[str, Any]]] = [
    ("first-hitting", {}),
    ("first-hitting", {"block_size": 2}),
    ("first-hitting", {"block_size": 3}),
    ("random", {"steps": LENGTH}),
    ("random", {"block_size": 2}),
    ("ancestral", {"steps": 1000}),
    ("ancestral", {"steps": 1000, "block_size": 2}),
    ("ancestral", {"steps": 600, "schedule": "maskgit"}),
    ("autoregressive", {}),
    ("posterior", {"steps": 400}),
    ("psi", {"steps": 300}),
    ("margin", {"steps": LENGTH}),
    ("margin", {"block_size": 2}),
    ("peak", {"steps": LENGTH}),
    ("peak", {"block_size": 2}),
    ("entropy", {"steps": LENGTH}),
    ("entropy", {"block_size": 2}),
    ("entropy-bounded", {"gamma": 0.0}),
    ("left-first", {"steps": 400}),
    ("left-first", {"steps": 100, "slope": 1000.0}),
    ("remdm-cap", {"steps": 300}),
    ("remdm-rescale", {"steps": 300}),
    ("remdm-loop", {"steps": 300}),
]
BIASED: list[tuple[str, dict[str, Any]]] = [
    ("random", {"steps": 2}),
    ("ancestral", {"steps": 2}),
    ("posterior", {"steps": 2}),
    ("psi", {"steps": 2}),
    ("greedy-tail", {"steps": 4}),
    ("confidence", {"steps": LENGTH}),
    ("single-best", {}),
    ("threshold", {"steps": LENGTH, "threshold": 0.5}),
    ("margin", {"steps": 2}),
    ("peak", {"steps": 2}),
    ("entropy", {"steps": 2}),
    ("factor", {}),
    ("entropy-bounded", {"gamma": 1.0}),
    ("adaptive", {"steps": 2}),
    ("remdm-cap", {"steps": 2}),
    ("remdm-rescale", {"steps": 2}),
    ("remdm-conf", {"steps": 20}),
    ("remdm-loop", {"steps": 2}),
    ("left-first", {"steps": 2}),
    ("edit", {"steps": LENGTH}),
    ("confidence-remask", {"steps": LENGTH}),
    ("refine", {"steps": LENGTH}),
    ("any-position", {"steps": LENGTH}),
    ("entropy-renoise", {"steps": LENGTH, "gamma": 0.0}),
    ("full-remask", {"steps": 10}),
    ("guide", {"steps": 10}),
]


@pytest.mark.parametrize(("sampler", "options"), EXACT)
def test_exact_samplers_follow_the_joint(sampler: str, options: Mapping[str, Any]) -> None:
    counts = drawn(sampler, **options)
    assert fit(counts) > 1e-3
    assert distance(counts) < 0.05


@pytest.mark.parametrize(("sampler", "options"), BIASED)
def test_biased_samplers_do_not_and_say_so(sampler: str, options: Mapping[str, Any]) -> None:
    counts = drawn(sampler, **options)
    assert fit(counts) < 1e-6
    assert distance(counts) > 0.03
    said = SAMPLERS[sampler].exact
    assert said.startswith("biased") or "few" in said


def test_every_sampler_is_judged_here() -> None:
    exact, biased = ({name for name, _ in cases} for cases in (EXACT, BIASED))
    assert set(SAMPLERS) <= exact | biased, "add the new sampler to EXACT or to BIASED"
    for name in biased - exact:
        assert not SAMPLERS[name].exact.startswith("exact"), name
    for name in exact:
        assert SAMPLERS[name].exact.startswith("exact"), name


@pytest.mark.parametrize("name", ["geometric", "cosine"])
def test_ancestral_law_does_not_hang_on_the_noise_schedule(name: str) -> None:
    tokens = torch.full((SAMPLES, LENGTH), MASK)
    canvas = Canvas(tokens, tokens == MASK, tokens == MASK)
    corruption, rows = Absorbing(MASK, SCHEDULES[name]()), RowGenerator.for_rows(range(SAMPLES))
    frames = denoise(as_denoiser(oracle()), corruption, canvas, Decoding(steps=300), rows)
    *_, last = frames
    assert fit(oracle().counts(last.tokens)) > 1e-3


def test_prompt_conditions_the_draw() -> None:
    """Two tokens given: the others follow the conditional joint."""
    given = torch.tensor([0, MASK, 2, MASK]).expand(SAMPLES, -1)
    tokens = sample(oracle(), given, mask_id=MASK, sampler="first-hitting")
    assert bool((tokens[:, [0, 2]] == torch.tensor([0, 2])).all())
    fits = ((oracle().texts == given[0]) | (given[0] == MASK)).all(1)
    share = oracle().joint[fits] / oracle().joint[fits].sum()
    assert chisquare(oracle().counts(tokens)[fits], (share * SAMPLES).numpy()).pvalue > 1e-3


# -- what each rule does ---------------------------------------------------------------------------------


def frames_of(
    function: Callable[[Tensor], Tensor], rows: int, length: int, decoding: Decoding
) -> list[Frame]:
    """All frames of texts without a prompt; the mask is the last of the function's tokens."""
    mask = function(torch.zeros(1, length, dtype=torch.int64)).shape[-1] - 1
    tokens = torch.full((rows, length), mask)
    canvas = Canvas(tokens, torch.ones(rows, length).bool(), torch.ones(rows, length).bool())
    generator = RowGenerator.for_rows(range(rows))
    return list(denoise(as_denoiser(function), Absorbing(mask), canvas, decoding, generator))


def flat(ids: Tensor) -> Tensor:
    return torch.zeros(*ids.shape, 6)


def sure(*probabilities: float) -> Callable[[Tensor], Tensor]:
    """Token 0 with the given probability at each position, the rest shared by two others."""
    p = torch.tensor(probabilities)
    logits = torch.stack([p, (1 - p) / 2, (1 - p) / 2, torch.zeros_like(p)], -1).log()
    return lambda ids: logits.expand(len(ids), -1, -1)


def unsure(length: int) -> Callable[[Tensor], Tensor]:
    """Four tokens alike at each position."""
    return lambda ids: torch.zeros(len(ids), length, 5)


@pytest.mark.parametrize("grid", list(STEP_GRIDS))
@pytest.mark.parametrize("length", [20, 37])
def test_guide_masks_an_exact_share_again(grid: str, length: int) -> None:
    frames = frames_of(flat, 4, length, Decoding(sampler="guide", steps=10, schedule=grid))
    assert len(frames) == 11
    for frame, rate in zip(frames, STEP_GRIDS[grid].rates(10).tolist(), strict=True):
        noise = (~frame.settled).sum(1)
        assert noise.tolist() == [math.floor(length * rate + 1e-6)] * 4
        assert torch.equal(frame.tokens == 5, ~frame.settled)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_guide_counts_do_not_hang_on_the_noise_schedule(name: str) -> None:
    tokens = torch.full((1, 100), 5)
    canvas = Canvas(tokens, tokens == 5, tokens == 5)
    frames = denoise(
        as_denoiser(flat),
        Absorbing(5, SCHEDULES[name]()),
        canvas,
        Decoding(sampler="guide", schedule="cosine"),
        RowGenerator.for_rows([0]),
    )
    assert [int((~frame.settled).sum()) for frame in frames] == [100, 99, 95, 88, 76, 59, 38, 19, 5, 1, 0]


def test_guide_masks_any_position_again() -> None:
    frames = frames_of(flat, 3000, 10, Decoding(sampler="guide", steps=10))
    assert chisquare((~frames[5].settled).sum(0)).pvalue > 1e-3
    reopened = frames[4].settled & ~frames[5].settled
    assert bool(reopened.any())


def test_full_remask_masks_each_by_its_rate() -> None:
    frames = frames_of(flat, 400, 30, Decoding(sampler="full-remask", steps=10, schedule="exponential"))
    for frame, rate in zip(frames[1:-1], STEP_GRIDS["exponential"].rates(10).tolist()[1:-1], strict=True):
        counts = (~frame.settled).sum(1).tolist()
        assert binomtest(sum(counts), 400 * 30, rate).pvalue > 1e-3
        spread = torch.tensor(counts, dtype=torch.float64).var().item()
        assert spread == pytest.approx(30 * rate * (1 - rate), rel=0.35)
    assert bool(frames[-1].settled.all())


@pytest.mark.parametrize("sampler", ["single-best", "first-hitting"])
def test_one_token_per_call(sampler: str) -> None:
    frames = frames_of(flat, 3, 7, Decoding(sampler=sampler, steps=2))
    assert [frame.nfe for frame in frames] == list(range(8))
    assert [int(n) for frame in frames for n in frame.settled.sum(1)] == [
        n for n in range(8) for _ in range(3)
    ]


def test_single_best_takes_the_surest_first() -> None:
    frames = frames_of(sure(0.5, 0.9, 0.6, 0.8), 1, 4, Decoding(sampler="single-best"))
    order = [int((b.settled & ~a.settled).nonzero()[0, 1]) for a, b in itertools.pairwise(frames)]
    assert order == [1, 3, 2, 0]
    assert bool((frames[-1].tokens == 0).all())


def test_confidence_shares_out_the_steps() -> None:
    frames = frames_of(
        sure(0.5, 0.9, 0.6, 0.8, 0.7), 1, 5, Decoding(sampler="confidence", steps=2, temperature=0.0)
    )
    assert frames[1].settled[0].tolist() == [False, True, False, True, True]
    assert [int(frame.settled.sum()) for frame in frames] == [0, 3, 5]
    torch.testing.assert_close(frames[-1].confidence[0], torch.tensor([0.5, 0.9, 0.6, 0.8, 0.7]))


def test_threshold_commits_all_above_and_at_least_one() -> None:
    decoding = Decoding(sampler="threshold", settings={"threshold": 0.75})
    frames = frames_of(sure(0.76, 0.4, 0.9, 0.6, 0.74, 0.99), 1, 6, decoding)
    assert frames[1].settled[0].tolist() == [True, False, True, False, False, True]
    assert frames[2].settled[0].tolist() == [True, False, True, False, True, True]
    assert [frame.nfe for frame in frames] == [0, 1, 2, 3, 4]


def test_threshold_ends_within_the_steps() -> None:
    decoding = Decoding(sampler="threshold", steps=2, settings={"threshold": 0.75})
    frames = frames_of(sure(*[0.5] * 6), 2, 6, decoding)
    assert [int(frame.settled[0].sum()) for frame in frames] == [0, 3, 6]


def test_margin_and_entropy_look_at_the_law_and_not_at_the_draw() -> None:
    """Two even favourites have no margin and little entropy; a clear one among many has both."""
    two, many = [0.49, 0.49, 0.01, 0.01], [0.40, 0.20, 0.20, 0.20]
    logits = torch.tensor([[*two, 0.0], [*many, 0.0]]).log()
    for sampler, first in {"margin": 1, "entropy": 0}.items():
        for temperature in (0.0, 1.0):
            decoding = Decoding(sampler=sampler, temperature=temperature, top_k=1)
            frames = frames_of(lambda ids: logits.expand(len(ids), -1, -1), 20, 2, decoding)
            assert frames[1].settled.tolist() == [[first == 0, first == 1]] * 20


def test_adaptive_writes_more_where_it_is_sure() -> None:
    """Of 12 open positions, a quarter is due; at mean confidence c of threshold 0.5 that is 3 c / 0.5."""
    for confidence, written in ((0.25, 2), (0.5, 3), (0.75, 5), (1.0, 6)):
        decoding = Decoding(sampler="adaptive", steps=4, temperature=0.0, settings={"threshold": 0.5})
        laws = sure(*[min(confidence, 1 - 1e-7)] * 12)
        frames = frames_of(laws if confidence > 0.3 else unsure(12), 2, 12, decoding)
        assert frames[1].settled.sum(1).tolist() == [written] * 2


def test_ancestral_calls_only_when_something_is_written() -> None:
    frames = frames_of(flat, 1, 5, Decoding(sampler="ancestral", steps=1000))
    assert frames[-1].nfe <= 5
    assert bool(frames[-1].settled.all())
    for before, after in itertools.pairwise(frames):
        assert (after.nfe > before.nfe) == bool((after.settled & ~before.settled).any())


def test_ancestral_reveals_at_the_rate_of_the_grid() -> None:
    frames = frames_of(flat, 500, 20, Decoding(sampler="ancestral", steps=5))
    for frame, rate in zip(frames[1:-1], (0.8, 0.6, 0.4, 0.2), strict=True):
        assert binomtest(int((~frame.settled).sum()), 500 * 20, rate).pvalue > 1e-3


def test_left_first_is_between_ancestral_and_left_to_right() -> None:
    plain, ahead, even, line = (
        frames_of(flat, 300, 9, Decoding(sampler=name, steps=45, settings=settings))
        for name, settings in (
            ("ancestral", {}),
            ("left-first", {"slope": 1.0}),
            ("left-first", {"slope": 0.0}),
            ("left-first", {"slope": 1e6}),
        )
    )
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(plain, even, strict=True))
    for frame in line:
        assert bool((frame.settled.long().diff(dim=1) <= 0).all())  # no text behind noise
    middle = ahead[22].settled.double().mean(0)  # rate 1 - 22 / 45, at 9 places
    rate, place = 1 - 22 / 45, torch.arange(9) / 8
    expected = 1.0 - (rate + (rate - 1.0 + place)).clamp(0.0, 1.0).double()
    torch.testing.assert_close(middle, expected, atol=0.09, rtol=0)
    assert bool(ahead[23].settled[:, 0].all())


def test_random_chooses_every_subset_alike() -> None:
    frames = frames_of(flat, 6000, 4, Decoding(sampler="random", steps=2))
    pattern = (frames[1].settled * 2 ** torch.arange(4)).sum(1).bincount(minlength=16)
    pairs = [3, 5, 6, 9, 10, 12]
    assert int(pattern[pairs].sum()) == 6000
    assert chisquare(pattern[pairs]).pvalue > 1e-3
