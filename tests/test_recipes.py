"""Every recipe in the folder can be read."""

from pathlib import Path

import pytest

from textdiffusion.training.recipe import TrainingRecipe, read_recipe

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").rglob("*.yaml"))


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_understood(path: Path) -> None:
    recipe = read_recipe(path, {"data": "x"})
    assert recipe != TrainingRecipe(data="x")
    assert path.read_text(encoding="utf-8").startswith("# "), "it says what it is for"
