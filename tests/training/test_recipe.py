"""What a recipe refuses before any data are read."""

from pathlib import Path

import pytest

from textdiffusion.errors import SettingsError
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
