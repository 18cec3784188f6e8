"""Grids of sampling steps. (The noise schedules are tested with the corruptions, in tests/exact.)"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.schedules import SCHEDULES, STEP_GRIDS

PUBLISHED = {
    "linear": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0],
    "cosine": [1.0, 0.99, 0.95, 0.88, 0.76, 0.59, 0.38, 0.19, 0.05, 0.01, 0.0],
    "exponential": [1.0, 0.74, 0.55, 0.41, 0.30, 0.22, 0.17, 0.12, 0.09, 0.07, 0.0],
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_ten_steps_are_the_published_numbers(name: str) -> None:
    assert STEP_GRIDS[name].rates(10).tolist() == PUBLISHED[name]


@given(name=st.sampled_from(list(STEP_GRIDS)), steps=st.integers(1, 400))
def test_any_number_of_steps_falls_from_one_to_nothing(name: str, steps: int) -> None:
    rates = STEP_GRIDS[name].rates(steps)
    assert (rates.shape, rates.dtype) == ((steps + 1,), torch.float64)
    assert (rates[0].item(), rates[-1].item()) == (1.0, 0.0)
    assert bool((rates.diff() < 0.0).all())


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_between_the_levels_the_grid_is_straight(name: str) -> None:
    levels, fine = torch.tensor(PUBLISHED[name], dtype=torch.float64), STEP_GRIDS[name].rates(20)
    torch.testing.assert_close(fine[::2], levels)
    torch.testing.assert_close(fine[1::2], (levels[1:] + levels[:-1]) / 2)
    torch.testing.assert_close(STEP_GRIDS[name].rates(5), levels[::2])


@pytest.mark.parametrize("steps", [1, 3, 7, 256])
def test_linear_is_even(steps: int) -> None:
    even = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
    torch.testing.assert_close(STEP_GRIDS["linear"].rates(steps), even, atol=1e-12, rtol=0)


def test_maskgit_is_a_cosine() -> None:
    for steps in (8, 10, 64):
        exact = torch.tensor(
            [math.cos(math.pi / 2 * i / steps) for i in range(steps + 1)], dtype=torch.float64
        )
        torch.testing.assert_close(STEP_GRIDS["maskgit"].rates(steps), exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_step_is_no_grid(steps: int) -> None:
    with pytest.raises(SettingsError, match=f"steps is {steps}"):
        STEP_GRIDS["linear"].rates(steps)


def test_tables_tell_what_they_hold() -> None:
    assert all(grid.summary and grid.source for grid in STEP_GRIDS.values())
    assert {"linear", "cosine", "geometric", "log-linear", "polynomial"} <= set(SCHEDULES)
    with pytest.raises(UnknownNameError, match=r"Did you mean cosine\?"):
        STEP_GRIDS["cosin"]
