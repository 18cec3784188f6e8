"""Distributions of the mask rate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from textdiffusion.errors import SettingsError
from textdiffusion.mask_rates import MASK_RATES, MaskRates, StepRates, UniformRates, WeightedRates
from textdiffusion.randomness import RowGenerator

CASES = [
    UniformRates(),
    UniformRates(0.15, 0.99),
    UniformRates(0.3, 0.3),
    StepRates(),
    StepRates(1),
    StepRates(256),
    WeightedRates(),
    WeightedRates((0.1, 0.5, 1.0), (1.0, 0.0, 3.0)),
]
every_case = pytest.mark.parametrize("rates", CASES, ids=repr)
EVEN = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000


def test_every_kind_is_tested_here() -> None:
    assert {type(case) for case in CASES} == set(MASK_RATES.values())


@every_case
def test_even_numbers_give_the_mean(rates: MaskRates) -> None:
    found = rates.quantile(EVEN)
    assert found.mean().item() == pytest.approx(rates.mean, rel=1e-4)
    assert bool(((found >= 0.0) & (found <= 1.0)).all())
    if not isinstance(rates, WeightedRates):
        assert bool((found.diff() >= 0.0).all())


@every_case
def test_ends_are_inside(rates: MaskRates) -> None:
    ends = rates.quantile(torch.tensor([[0.0], [1.0 - 2**-53]], dtype=torch.float64))
    assert ends.shape == (2, 1)
    assert bool(((ends >= 0.0) & (ends <= 1.0)).all())


def test_uniform_rates_are_uniform() -> None:
    u = RowGenerator.for_rows(range(3000)).uniform(1)
    found = UniformRates(0.15, 0.99).quantile(u)[:, 0]
    assert kstest(found, "uniform", args=(0.15, 0.84)).pvalue > 1e-3


@given(st.integers(1, 300))
def test_steps_are_all_alike_and_reach_one(count: int) -> None:
    levels, counts = StepRates(count).quantile(EVEN).unique(return_counts=True)
    torch.testing.assert_close(levels, torch.arange(1, count + 1).double() / count)
    assert int(counts.max() - counts.min()) <= 1


def test_ten_steps_are_those_of_the_bert_diffusions() -> None:
    levels = StepRates(10).quantile(EVEN).unique()
    torch.testing.assert_close(levels, torch.arange(1, 11).double() / 10)


def test_weights_are_kept_and_zero_means_never() -> None:
    u = RowGenerator.for_rows(range(5000)).uniform(1)[:, 0]
    found = WeightedRates((0.2, 0.5, 0.9), (2.0, 0.0, 6.0)).quantile(u)
    low, high = int((found == 0.2).sum()), int((found == 0.9).sum())
    assert low + high == 5000
    assert chisquare([low, high], [1250, 3750]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (UniformRates, (-0.1, 1.0)),
        (UniformRates, (0.6, 0.5)),
        (UniformRates, (0.0, 1.1)),
        (UniformRates, (0.0, 0.0)),
        (StepRates, (0,)),
        (WeightedRates, ((), ())),
        (WeightedRates, ((0.5,), (1.0, 2.0))),
        (WeightedRates, ((0.5, 0.6), (1.0, -1.0))),
        (WeightedRates, ((0.5,), (0.0,))),
        (WeightedRates, ((0.0,), (1.0,))),
    ],
)
def test_what_is_no_distribution_is_refused(kind: type[MaskRates], arguments: tuple[object, ...]) -> None:
    with pytest.raises(SettingsError, match="mask rates"):
        kind(*arguments)
