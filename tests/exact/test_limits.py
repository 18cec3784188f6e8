"""What ancestral sampling tends to: the law of all its steps, written down in full, and its draws."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from torch import Tensor

from textdiffusion.generation import sample

from .oracle import LENGTH, MASK, WORDS, oracle

SAMPLES = 10_000
STATES = torch.cartesian_prod(*[torch.arange(WORDS + 1)] * LENGTH)
"""The 256 partly masked texts, the last of which is all masks."""
CLEAN = (STATES != MASK).all(1)
HIDDEN = STATES == MASK


def begin() -> Tensor:
    law = torch.zeros(len(STATES), dtype=torch.float64)
    law[-1] = 1.0
    return law


def written() -> Tensor:
    """What a position of a text may become in one call: [256, 4, 3], nothing where a word stands."""
    return oracle().table.softmax(-1) * HIDDEN[..., None]


def each_at_once(chance: float) -> Tensor:
    """From text to text [256, 256], where each mask is written by itself with the same chance."""
    stays = torch.nn.functional.one_hot(STATES, WORDS + 1) * (1.0 - chance * HIDDEN.double())[..., None]
    goes = stays + torch.nn.functional.pad(chance * written(), (0, 1))
    return torch.stack([goes[:, i, STATES[:, i]] for i in range(LENGTH)]).prod(0)


@cache
def ancestral(steps: int) -> Tensor:
    """The law of the 81 texts after so many even steps."""
    law = begin()
    for step in range(steps):
        law = law @ each_at_once(1.0 / (steps - step))
    return law[CLEAN]


def one_by_one() -> Tensor:
    """The law of the 81 texts where every call writes one mask, each as likely as the others."""
    law = begin()
    for left in range(LENGTH, 0, -1):
        single = torch.zeros(len(STATES), len(STATES), dtype=torch.float64)
        for i in range(LENGTH):
            others = torch.ones_like(single)
            for j in set(range(LENGTH)) - {i}:
                others *= STATES[:, None, j] == STATES[None, :, j]
            single += torch.nn.functional.pad(written()[:, i], (0, 1))[:, STATES[:, i]] * others / left
        law = law @ single
    return law[CLEAN]


def distance(law: Tensor) -> float:
    """Total variation to the joint."""
    return float((law - oracle().joint).abs().sum() / 2)


def draws(sampler: str, steps: int | None = None, seed: int = 0) -> Tensor:
    canvas = torch.full((SAMPLES, LENGTH), MASK)
    source = torch.Generator().manual_seed(seed)
    return oracle().counts(
        sample(oracle(), canvas, mask_id=MASK, sampler=sampler, steps=steps, generator=source)
    )


def test_one_by_one_is_the_joint() -> None:
    torch.testing.assert_close(one_by_one(), oracle().joint, atol=1e-6, rtol=0)


def test_ancestral_tends_to_it_as_the_steps_grow() -> None:
    """Its error falls with every step, in the end as one over their number."""
    found = [distance(ancestral(steps)) for steps in range(1, 25)]
    assert all(after < before for before, after in pairwise(found))
    assert found[0] > 0.4
    assert distance(ancestral(512)) / distance(ancestral(256)) == pytest.approx(0.5, abs=0.01)
    assert distance(ancestral(512)) < 0.002


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_draws_of_ancestral_follow_the_law_of_their_steps(steps: int) -> None:
    counts = draws("ancestral", steps)
    assert chisquare(counts, (ancestral(steps) * SAMPLES).numpy()).pvalue > 1e-3
    other = (ancestral(2 * steps) * SAMPLES).numpy()
    assert steps == 16 or chisquare(counts, other).pvalue < 1e-6, "and not that of twice as many"


def test_draws_of_first_hitting_follow_the_limit() -> None:
    first = draws("first-hitting", seed=1)
    assert chisquare(first, (one_by_one() * SAMPLES).numpy()).pvalue > 1e-3
    many, few = (chi2_contingency(torch.stack([first, draws("ancestral", n)])).pvalue for n in (1000, 4))
    assert many > 1e-3 and few < 1e-6
