"""A training whose objective chooses a part of itself by the held-out text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from textdiffusion.objectives import BlockNelbo, ClippedBlockNelbo
from textdiffusion.training.trainer import DiffusionTrainer

from .conftest import Recipe, ctrl_c

Run = Callable[..., str]
SETTINGS: dict[str, Any] = {
    "objective": "block-nelbo-clipped",
    "objective_settings": {"block_size": 8},
    "eval_every": 4,
    "save_every": 2,
}


def logs(output: str, step: int) -> list[dict[str, Any]]:
    state = json.loads((Path(output) / f"checkpoints/checkpoint-{step}/trainer_state.json").read_text())
    found: list[dict[str, Any]] = state["log_history"]
    return found


def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, float]]:
    """The step and the clip of each batch that is trained on."""
    found = []
    scores = DiffusionTrainer._scores

    def noting(self: DiffusionTrainer, model: Any, objective: Any, inputs: Any) -> Any:
        if isinstance(objective, ClippedBlockNelbo):
            found.append((self.state.global_step, objective.low, objective.high))
        else:
            assert objective == BlockNelbo(8), "the bound is never clipped"
        return scores(self, model, objective, inputs)

    monkeypatch.setattr(DiffusionTrainer, "_scores", noting)
    return found


def test_what_is_chosen_is_used_and_logged_and_survives_an_interruption(
    recipe: Recipe, run: Run, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halved = recipe("whole", **SETTINGS), recipe("halved", **SETTINGS)
    seen = used(monkeypatch)
    run(whole)
    chosen = {
        entry["step"]: (entry["eval_clip_low"], entry["eval_clip_high"])
        for entry in logs(whole.output, 14)
        if "eval_loss" in entry
    }
    assert list(chosen) == [4, 8, 12, 14]
    assert set(chosen.values()) != {(0.0, 1.0)}
    assert all(0.5 - 1e-9 <= high - low <= 1.0 for low, high in chosen.values())
    expected = [(0.0, 1.0), *chosen.values()]
    assert all((low, high) == expected[step // 4] for step, low, high in seen)
    assert {step for step, _, _ in seen} == set(range(14))
    through = list(seen)
    seen.clear()
    at_step(5, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(halved)
    run(halved, resume=True)
    assert seen == through
    assert logs(whole.output, 14) == logs(halved.output, 14)
    one, two = (load_file(Path(made.output) / "model.safetensors") for made in (whole, halved))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_that_was_not_clipped_may_go_on_clipped(recipe: Recipe, run: Run) -> None:
    run(recipe(**{**SETTINGS, "objective": "block-nelbo", "steps": 4}))
    run(recipe(**{**SETTINGS, "steps": 6}), resume=True)
    assert [entry["step"] for entry in logs(recipe().output, 6) if "eval_clip_low" in entry] == [6]
