"""What a training saves with its model before its first step."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from textdiffusion.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.language_model import DiffusionLM
from textdiffusion.training.prepare import prepare
from textdiffusion.training.run import train

from .conftest import NETWORK, Recipe


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


BLOCKS = {"objective": "block-nelbo", "objective_settings": {"block_size": 4}}


def test_the_blocks_of_the_loss_are_those_of_the_network(recipe: Recipe, tmp_path: Path) -> None:
    """A new network and a loaded one; what is saved reads so again, and a loss over whole texts undoes it."""
    lm = model(recipe, **BLOCKS)
    assert lm.denoiser.block_size == 4
    save_checkpoint(tmp_path / "saved", Checkpoint(lm.model, lm.format.tokenizer, lm.settings))
    assert denoiser_of(load_checkpoint(str(tmp_path / "saved")).model).block_size == 4
    start = {"model": str(tmp_path / "saved")}
    assert model(recipe, **start, objective="block-nelbo").denoiser.block_size == 16
    assert model(recipe, **start).denoiser.block_size is None
    assert model(recipe, network={**NETWORK, "block_size": 4}, **BLOCKS).denoiser.block_size == 4


@pytest.mark.parametrize(("size", "objective"), [(8, "block-nelbo"), (None, "block-nelbo"), (4, "nelbo")])
def test_two_block_sizes_are_refused(recipe: Recipe, size: int | None, objective: str) -> None:
    with pytest.raises(SettingsError, match=r"network\.block_size is .* leave it out") as caught:
        recipe(network={"block_size": size}, objective=objective)
    assert "\n" not in str(caught.value)


def test_a_network_without_blocks_is_refused(recipe: Recipe, bert: Path) -> None:
    with pytest.raises(IncompatibleError, match="BertForMaskedLM always sees both ways") as caught:
        model(recipe, model=str(bert), **BLOCKS)
    assert "\n" not in str(caught.value)


FLEX = {**NETWORK, "attn_implementation": "flex_attention"}


def test_the_kernel_of_attention_is_set_anew(recipe: Recipe, tmp_path: Path, bert: Path) -> None:
    """In a new network and in a loaded one, as it is not saved."""
    lm = model(recipe, network=FLEX)
    assert lm.model.config._attn_implementation == "flex_attention"
    save_checkpoint(tmp_path / "saved", Checkpoint(lm.model, lm.format.tokenizer, lm.settings))
    start = str(tmp_path / "saved")
    assert model(recipe, model=start).model.config._attn_implementation == "sdpa"
    assert model(recipe, model=start, network=FLEX).model.config._attn_implementation == "flex_attention"
    with pytest.raises(IncompatibleError, match=r"flex_attention is for our own network, not for BertFor"):
        model(recipe, model=str(bert), network=FLEX)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "flex_attention",
            "no backward pass of flex_attention on cpu: leave network.attn_implementation out",
        ),
        (
            "flex_atention",
            r"named 'flex_atention'. Did you mean flex_attention\? Known: sdpa, flex_attention",
        ),
    ],
)
def test_attention_that_cannot_learn_here_is_refused_before_anything_is_read(
    recipe: Recipe, name: str, said: str
) -> None:
    given = recipe(network={**NETWORK, "attn_implementation": name}, device="cpu", data="nowhere.txt")
    with pytest.raises(SettingsError, match=said) as caught:
        train(given, resume=False, console=Console(file=io.StringIO()))
    assert "\n" not in str(caught.value)
