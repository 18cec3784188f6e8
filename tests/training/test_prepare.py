"""What a training saves with its model before its first step."""

import io

import pytest
import torch
from rich.console import Console

from textdiffusion.errors import IncompatibleError
from textdiffusion.language_model import DiffusionLM
from textdiffusion.training.prepare import prepare

from .conftest import Recipe


def model(recipe: Recipe, **changes: object) -> DiffusionLM:
    prepared = prepare(recipe(**changes), None, Console(file=io.StringIO()))
    return DiffusionLM(prepared.checkpoint, name="new", device=torch.device("cpu"))


def test_a_model_that_never_saw_a_mask_is_not_sampled_from_masks(recipe: Recipe) -> None:
    lm = model(recipe, noise="pure-random", decoding={"top_p": 0.9})
    assert lm.settings.decoding == {"sampler": "posterior", "top_p": 0.9}
    assert lm.generate("the", length=4, steps=2).sampler == "posterior"
    with pytest.raises(IncompatibleError, match="posterior"):
        lm.generate("the", length=4, steps=2, sampler="ancestral")


@pytest.mark.parametrize("noise", ["absorbing", "bert", "flowlm"])
def test_models_that_saw_masks_are_sampled_from_them(recipe: Recipe, noise: str) -> None:
    lm = model(recipe, noise=noise)
    assert lm.settings.decoding == {}
    assert lm.generate("the", length=4, steps=2).sampler == "ancestral"
