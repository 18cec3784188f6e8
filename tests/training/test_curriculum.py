"""Trainings that begin with soft tokens: which step learns what, and the same after an interruption."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import textdiffusion as td
from textdiffusion.corruptions import Interpolating
from textdiffusion.errors import IncompatibleError
from textdiffusion.objectives import Nelbo
from textdiffusion.objectives.curriculum import SoftNelbo
from textdiffusion.training.recipe import read_recipe

from .conftest import NETWORK, Recipe, ctrl_c

Run = Callable[..., str]
AtStep = Callable[[int, Callable[[], None]], None]
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "duo.yaml"
DUO: dict[str, Any] = {
    "noise": "uniform",
    "objective": "duo",
    "objective_settings": {"soft_share": 0.5, "temperature": 8e-3, "final_temperature": "1e-8"},
    "eval_rows": 0,
}


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each micro-batch learnt: the temperature of soft tokens, or 0 for the bound."""
    found: list[float] = []
    soft, hard = SoftNelbo.__call__, Nelbo.__call__

    def softly(self: SoftNelbo, *args: Any) -> Any:
        found.append(self.temperature)
        return soft(self, *args)

    def plainly(self: Nelbo, *args: Any) -> Any:
        found.append(0.0)
        return hard(self, *args)

    monkeypatch.setattr(SoftNelbo, "__call__", softly)
    monkeypatch.setattr(Nelbo, "__call__", plainly)
    return found


def test_optimiser_steps_count_not_batches(recipe: Recipe, run: Run, learnt: list[float]) -> None:
    """Two batches a step; next tokens in the first quarter, soft tokens in the first half of the rest."""
    run(recipe(**DUO, steps=12, causal_share=0.25))
    rounded = [round(temperature, 6) for temperature in learnt]
    of_steps = [8e-3, 6e-3, 4e-3, 2e-3, *[0.0] * 5]
    assert rounded == [temperature for temperature in of_steps for _ in range(2)]


@pytest.mark.parametrize("stopped", [2, 4])
def test_a_resumed_run_equals_one_that_went_through(
    recipe: Recipe, run: Run, at_step: AtStep, learnt: list[float], stopped: int
) -> None:
    changes = {**DUO, "steps": 6, "save_every": 2}
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    through = list(learnt)
    learnt.clear()
    at_step(stopped, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(halved)
    run(halved, resume=True)
    assert learnt == through and len({*through}) == 4
    one, two = (load_file(Path(made.output) / "model.safetensors") for made in (whole, halved))
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


@pytest.mark.parametrize("start", ["bert", "gpt2"])
def test_models_of_others_learn_so_too(
    recipe: Recipe, run: Run, request: pytest.FixtureRequest, start: str
) -> None:
    made = recipe(
        **DUO, model=str(request.getfixturevalue(start)), time_conditioning=True, steps=2, network={}
    )
    run(made)
    lm = td.load(made.output)
    assert lm.denoiser.uses_time and isinstance(lm.corruption, Interpolating)
    assert lm.generate("the", length=4, steps=2).sampler == "posterior"


def test_the_recipe_trains(corpus: Path, tmp_path: Path, run: Run, learnt: list[float]) -> None:
    """As it comes, made tiny."""
    small = {"length": 16, "vocab_size": 320, "network": NETWORK, "steps": 4, "batch_size": 4, "eval_rows": 4}
    quick = {"log_every": 1, "eval_every": 4, "save_every": 4, "precision": "float32", "device": "cpu"}
    output = tmp_path / "model"
    said = run(read_recipe(RECIPE, {"data": str(corpus), "output": str(output), **small, **quick}))
    assert "held out" in said
    assert learnt[:2] == [1e-3, 1e-3] and not any(learnt[2:])
    lm = td.load(str(output))
    written = lm.generate("the", length=5)
    assert written.sampler == "posterior" and written.nfe == 5


@pytest.mark.parametrize("objective", ["symmetric-kl", "symmetric-kl-flowlm"])
def test_the_symmetric_divergence_trains(recipe: Recipe, run: Run, objective: str) -> None:
    made = recipe(noise="uniform", objective=objective, steps=3, eval_every=3)
    assert "held out" in run(made)
    assert td.load(made.output).generate(length=4, steps=2).sampler == "posterior"


def test_other_noise_is_refused(recipe: Recipe, run: Run) -> None:
    with pytest.raises(IncompatibleError, match=r"^Duo is for noise of words alone"):
        run(recipe(objective="duo"))
