"""Samplers that take tokens back: what they keep of the law of x_t, step by step, and what they do not."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.generation import Decoding, Frame, denoise
from textdiffusion.randomness import RowGenerator

from .oracle import LENGTH, MASK, WORDS, oracle

SAMPLES = 10_000
PLAIN = {"temperature": 1.0, "top_p": 1.0}


def frames_of(sampler: str, steps: int, **settings: Any) -> list[Frame]:
    """Every step of many texts, from the oracle."""
    tokens = torch.full((SAMPLES, LENGTH), MASK)
    canvas = Canvas(tokens, tokens == MASK, tokens == MASK)
    decoding = Decoding().changed({"sampler": sampler, "steps": steps, **PLAIN, **settings})
    rows = RowGenerator.for_rows(range(SAMPLES))
    return list(denoise(as_denoiser(oracle()), Absorbing(MASK), canvas, decoding, rows))


def law_of(rate: float) -> Tensor:
    """Probabilities of the 256 partly masked texts: q(x_t | x_0) over the oracle's x_0."""
    texts = torch.cartesian_prod(*[torch.arange(WORDS + 1)] * LENGTH)
    hidden = texts == MASK
    fits = ((texts[:, None] == oracle().texts) | hidden[:, None]).all(-1)
    count = hidden.sum(1).double()
    return (fits * oracle().joint).sum(1) * rate**count * (1.0 - rate) ** (LENGTH - count)


def fit(tokens: Tensor, rate: float) -> float:
    """p-value of draws of x_t under its law at a noise rate; cells of few draws are put together."""
    place = (tokens * (WORDS + 1) ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    seen = place.bincount(minlength=(WORDS + 1) ** LENGTH).double()
    expected = law_of(rate) * len(tokens)
    rare = expected < 8
    cells = [torch.cat([part[~rare], part[rare].sum()[None]]) for part in (seen, expected)]
    return float(chisquare(*(part[cells[1] > 0].numpy() for part in cells)).pvalue)


def masked(frame: Frame) -> int:
    return int((frame.tokens == MASK).sum())


def test_the_law_of_x_t_is_a_law() -> None:
    for rate in (0.0, 0.3, 1.0):
        assert float(law_of(rate).sum()) == pytest.approx(1.0)
    assert float(law_of(1.0)[-1]) == 1.0


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        ("ancestral", {}),
        ("remdm-cap", {"eta": 0.02}),
        ("remdm-rescale", {}),
    ],
)
def test_the_law_of_x_t_is_kept_at_every_step(sampler: str, settings: Mapping[str, Any]) -> None:
    frames = frames_of(sampler, 300, **settings)
    for step in (60, 150, 240, 285):
        assert fit(frames[step].tokens, 1.0 - step / 300) > 1e-3, step


def test_the_loop_keeps_its_own_schedule() -> None:
    """Down to a rate of 0.4 at t = 0.6, which is held until the last step before 0.2."""
    frames = frames_of("remdm-loop", 300, eta=0.02, t_on=0.6, t_off=0.2, alpha_on=0.6)
    expected = {60: 0.7, 119: 1 - 0.6 * 119 / 120, 150: 0.4, 200: 0.4, 239: 0.4, 270: 0.2}
    for step, rate in expected.items():
        assert fit(frames[step].tokens, rate) > 1e-3, step
    back = [bool((a.settled & ~b.settled).any()) for a, b in itertools.pairwise(frames)]
    assert back == [120 <= step < 239 for step in range(300)]


@pytest.mark.parametrize(("sampler", "eta"), [("remdm-cap", 0.4), ("remdm-rescale", 0.9)])
def test_much_remasking_in_few_steps_keeps_the_noise_of_the_schedule(sampler: str, eta: float) -> None:
    """Each position is noise with the probability that the grid says, whatever eta is."""
    frames = frames_of(sampler, 10, eta=eta)
    taken_back = 0
    for step in range(1, 10):
        rate, total = 1.0 - step / 10, SAMPLES * LENGTH
        assert binomtest(masked(frames[step]), total, rate).pvalue > 1e-3, step
        counts = (frames[step].tokens == MASK).sum(1).bincount(minlength=LENGTH + 1).double()
        number = torch.arange(LENGTH + 1).double()
        choose = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64)
        expected = choose * rate**number * (1 - rate) ** (LENGTH - number) * SAMPLES
        assert chisquare(counts, expected.numpy()).pvalue > 1e-3, step
        taken_back += int((frames[step - 1].settled & ~frames[step].settled).sum())
    assert taken_back > SAMPLES


def test_eta_zero_is_ancestral() -> None:
    one, two, three = (
        frames_of(name, 8, **settings)
        for name, settings in (
            ("ancestral", {}),
            ("remdm-cap", {"eta": 0.0}),
            ("remdm-rescale", {"eta": 0.0}),
        )
    )
    for a, b, c in zip(one, two, three, strict=False):
        assert torch.equal(a.tokens, b.tokens)
        assert torch.equal(a.tokens, c.tokens)


def test_remdm_conf_masks_more_than_the_schedule() -> None:
    """The published rule: what it takes back is not made up for; measured here, not derived."""
    frames = frames_of("remdm-conf", 20)
    share = {step: masked(frames[step]) / (SAMPLES * LENGTH) for step in (5, 10, 15)}
    assert share == pytest.approx({5: 0.935, 10: 0.907, 15: 0.693}, abs=0.02)  # where 0.75, 0.5, 0.25 are due
    assert fit(frames[10].tokens, 0.5) < 1e-6
    assert not bool((frames[-1].tokens == MASK).any())
