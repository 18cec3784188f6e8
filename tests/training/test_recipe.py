"""What a recipe refuses before any data are read."""

import math
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.training.recipe import read_recipe

from .conftest import Recipe

QUICK = Path(__file__).resolve().parents[2] / "recipes/quick.yaml"


def test_a_causal_start_is_a_part_of_the_run_and_of_a_new_network_only(recipe: Recipe) -> None:
    with pytest.raises(SettingsError, match=r"causal_share 1\.0 must"):
        recipe(causal_share=1.0)
    with pytest.raises(SettingsError, match=r"causal_share 0\.5 is for a new network"):
        recipe(causal_share=0.5, model="some/model")
    short = read_recipe(QUICK, {"steps": 10})
    assert 0 < round(short.causal_share * short.steps) < short.steps


@pytest.mark.parametrize(
    "bad",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"epochs": math.nan},
        {"epochs": math.inf},
        {"epochs": -1.0, "steps": 5},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"warmup": 1.0},
        {"warmup": math.nan},
        {"repeats": {"books": -1.0}},
        {"repeats": {"books": 1.0, "tales": math.inf}},
    ],
)
def test_numbers_out_of_range_are_refused(recipe: Recipe, bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(bad))) as caught:
        recipe(**bad)
    assert "\n" not in str(caught.value)


def test_numbers_at_the_edge_are_taken(recipe: Recipe) -> None:
    recipe(seed=2**32 - 1, epochs=0.1, dropout=0.0, warmup=0.0, repeats={"books": 0.0})


@pytest.mark.parametrize("objective", ["nelbo", "nelbo-count", "next-token"])
def test_mask_rates_without_effect_are_refused(recipe: Recipe, objective: str) -> None:
    for bad in ({"mask_rates": "steps"}, {"mask_rate_settings": {"low": 0.15}}):
        with pytest.raises(SettingsError, match="choose cross-entropy") as caught:
            recipe(objective=objective, **bad)
        assert "\n" not in str(caught.value)
        recipe(objective="cross-entropy", **bad)
    with pytest.raises(SettingsError, match="lwo"):
        recipe(objective=objective, mask_rate_settings={"lwo": 0.15})
    with pytest.raises(UnknownNameError, match="stepz"):
        recipe(objective=objective, mask_rates="stepz")


def test_the_poems_hold_a_tenth_back() -> None:
    assert read_recipe(QUICK.with_name("poems.yaml"), {}).validation_share == 0.1


@pytest.mark.parametrize("missing", [{"eval_every": 0}, {"eval_every": 5, "eval_rows": 0}])
def test_a_clip_that_is_measured_needs_measurements(recipe: Recipe, missing: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"block-nelbo-clipped chooses by measurements") as caught:
        recipe(objective="block-nelbo-clipped", **missing)
    assert "\n" not in str(caught.value)
    recipe(objective="block-nelbo-clipped", eval_every=5)
