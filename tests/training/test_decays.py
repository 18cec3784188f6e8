"""How the learning rate moves: one-cycle against torch's own, and what each name takes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.training.decays import DECAYS, OneCycle
from textdiffusion.training.recipe import read_recipe

from .conftest import Recipe

PEAKS = (1e-3, 0.02)


def two_groups() -> Optimizer:
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": peak} for peak in PEAKS])


def rates(optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> list[list[float]]:
    """The rate of each group in each step."""
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


@given(
    steps=st.integers(1, 40),
    warmup=st.floats(0.0, 0.95),
    div_factor=st.floats(1.0, 100.0),
    final_div_factor=st.floats(1.0, 1e5),
)
def test_one_cycle_is_that_of_torch(
    steps: int, warmup: float, div_factor: float, final_div_factor: float
) -> None:
    assume(abs(warmup * steps - 1) > 1e-9)  # where torch's own divides by zero
    factors = {"div_factor": div_factor, "final_div_factor": final_div_factor}
    ours, theirs = two_groups(), two_groups()
    torchs = OneCycleLR(
        theirs, list(PEAKS), total_steps=steps, pct_start=warmup, cycle_momentum=False, **factors
    )
    expected = rates(theirs, torchs, steps)
    for found, wanted in zip(
        rates(ours, OneCycle(**factors).scheduler(ours, steps, warmup), steps), expected, strict=True
    ):
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-15)


def test_one_cycle_begins_peaks_and_ends_where_it_says() -> None:
    optimizer = two_groups()
    found = rates(optimizer, OneCycle().scheduler(optimizer, 100, 0.1), 100)
    for group, peak in enumerate(PEAKS):
        curve = [both[group] for both in found]
        assert curve[0] == pytest.approx(peak / 25)
        assert curve[9] == max(curve) == pytest.approx(peak)
        assert curve[99] == min(curve) == pytest.approx(peak / 25 / 1e4)
        way = (50 - 9) / (99 - 9)
        last = peak / 25 / 1e4
        assert curve[50] == pytest.approx(last + (peak - last) * (1 + math.cos(math.pi * way)) / 2)


def test_a_rise_of_one_step_begins_at_the_peak() -> None:
    assert OneCycle().share(0, 10, 0.1) == 1.0


def test_a_longer_run_goes_on_from_the_state_of_a_shorter_one() -> None:
    short, long = two_groups(), two_groups()
    first, second = OneCycle().scheduler(short, 4, 0.25), OneCycle().scheduler(long, 8, 0.25)
    rates(short, first, 4)
    second.load_state_dict(first.state_dict())
    rates(long, second, 1)
    assert [group["lr"] for group in long.param_groups] == pytest.approx(
        [peak * OneCycle().share(5, 8, 0.25) for peak in PEAKS]
    )


@pytest.mark.parametrize("name", list(DECAYS))
def test_every_decay_ends_no_higher_than_its_peak(name: str) -> None:
    optimizer = two_groups()
    found = rates(optimizer, DECAYS[name]().scheduler(optimizer, 12, 0.25), 12)
    for group, peak in enumerate(PEAKS):
        curve = [both[group] for both in found]
        assert max(curve) == pytest.approx(peak)
        assert curve[11] < peak or "constant" in name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_steps_it_once_per_optimiser_step(recipe: Recipe, run: Any, optimizer: str) -> None:
    settings = {"div_factor": 10.0, "final_div_factor": 100.0}
    run(
        recipe(
            steps=10,
            save_every=10,
            log_every=1,
            decay="one-cycle",
            decay_settings=settings,
            warmup=0.4,
            optimizer=optimizer,
            learning_rate=1e-3,
            muon_learning_rate=0.02,
        )
    )
    state = json.loads((Path(recipe().output) / "checkpoints/checkpoint-10/trainer_state.json").read_text())
    found = [entry["learning_rate"] for entry in state["log_history"] if "learning_rate" in entry]
    peak = {"adamw": 1e-3, "muon": 0.02}[optimizer]
    cycle = OneCycle(**settings)
    assert found == pytest.approx([peak * cycle.share(step, 10, 0.4) for step in range(10)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decay": "one-cycle", "decay_settings": {"div_fctor": 3}}, "Did you mean div_factor"),
        ({"decay": "one-cycle", "decay_settings": {"div_factor": 0.5}}, "it must be at least 1"),
        ({"decay": "one-cycle", "decay_settings": {"final_div_factor": math.inf}}, "it must be at least 1"),
        ({"decay": "one-cycle", "decay_settings": {"div_factor": "much"}}, "expected a number"),
        ({"decay_settings": {"div_factor": 3.0}}, "There is nothing to set here"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_recipe(None, changes)
    assert "\n" not in str(caught.value)


def test_names_are_offered(recipe: Recipe) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean one-cycle"):
        recipe(decay="onecycle")
    recipe(decay="constant_with_warmup")
