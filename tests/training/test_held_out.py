"""What the held-out loss decides: which checkpoints stay, when a training ends, which model it gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState

from textdiffusion.errors import SettingsError, TrainingError
from textdiffusion.training.callbacks import AVERAGE_FILE, Average, Samples, StopWhenBroken
from textdiffusion.training.held_out import (
    Measurement,
    best,
    best_checkpoint,
    in_vain,
    measurements,
    read_log,
)
from textdiffusion.training.recipe import read_recipe
from textdiffusion.training.resume import checkpoints
from textdiffusion.training.run import _arguments
from textdiffusion.training.trainer import DiffusionTrainer

from .conftest import Recipe, ctrl_c
from .test_resume import AtStep, Run, assert_same, crash, history, weights

Plan = Callable[[dict[int, float]], None]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Lets the measurement after each step find the loss that was planned for it."""

    def make(losses: dict[int, float]) -> None:
        def evaluate(self: DiffusionTrainer, *args: Any, **kwargs: Any) -> dict[str, float]:
            found = {"eval_loss": losses[self.state.global_step], "eval_standard_error": 0.0}
            self.log(found)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
            return found

        monkeypatch.setattr(DiffusionTrainer, "evaluate", evaluate)

    return make


def kept(output: str) -> list[int]:
    return list(checkpoints(Path(output) / "checkpoints"))


def measured(*losses: float) -> list[Measurement]:
    return [Measurement(2 * number + 2, loss) for number, loss in enumerate(losses)]


# -- reading the log -----------------------------------------------------------------------------------------


def test_the_best_are_the_lowest_and_of_equals_the_earlier() -> None:
    found = measured(3.0, 1.0, 2.0, 1.0)
    assert [one.step for one in best(found, 3)] == [4, 8, 6]
    assert best(found, 0) == []
    assert len(best(found, 9)) == 4


@pytest.mark.parametrize(
    ("losses", "min_delta", "expected"),
    [
        ([], 0.0, 0),
        ([3.0, 2.0, 1.0], 0.0, 0),
        ([3.0, 3.0, 3.0], 0.0, 2),
        ([1.0, 2.0, 0.5, 0.6], 0.0, 1),
        ([2.0, 1.875, 1.75], 0.25, 2),
        ([2.0, 1.875, 1.75, 1.625], 0.25, 0),  # small steps down add up
        ([2.0, 1.0, 1.5, 0.9], 0.25, 2),
    ],
)
def test_patience_counts_from_the_last_fall(losses: list[float], min_delta: float, expected: int) -> None:
    assert in_vain(measured(*losses), min_delta) == expected


def test_other_entries_of_a_log_are_passed_over() -> None:
    log = [{"step": 2, "loss": 3.0}, {"step": 2, "eval_loss": 2.0}, {"step": 4, "eval_loss": 1.0}]
    assert read_log(log) == [Measurement(2, 2.0), Measurement(4, 1.0)]
    assert read_log(log, after=2) == [Measurement(4, 1.0)]


def test_a_start_with_next_tokens_is_not_judged(recipe: Recipe) -> None:
    log = [{"step": step, "eval_loss": 1.0} for step in (2, 5, 7)]
    state = TrainerState(max_steps=10, log_history=log)
    assert [one.step for one in measurements(recipe(causal_share=0.5), state)] == [7]


def test_the_best_checkpoint_is_one_that_is_there_and_whole(tmp_path: Path) -> None:
    found = measured(1.0, 2.0, 3.0)
    assert best_checkpoint(tmp_path, found) is None
    for step in (4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-6/trainer_state.json").write_text("{}")
    assert best_checkpoint(tmp_path, found) == (Measurement(6, 3.0), tmp_path / "checkpoint-6")


# -- the checkpoints that stay -------------------------------------------------------------------------------

SEEN = {2: 3.0, 4: 1.0, 6: 2.0, 8: 4.0, 10: 5.0, 12: 1.5, 14: 6.0}


def test_the_best_stay_and_the_best_of_all_is_the_model(recipe: Recipe, run: Run, plan: Plan) -> None:
    plan(SEEN)
    made = recipe(eval_every=2, keep_best=2, keep=1)
    said = run(made)
    assert "the model is checkpoint-4, the best held out: 1.000 nats per token\n" in said
    assert kept(made.output) == [4, 12, 14]
    best_weights = weights(Path(made.output) / "checkpoints/checkpoint-4")
    assert_same(weights(Path(made.output)), best_weights)
    last = weights(Path(made.output) / "checkpoints/checkpoint-14")
    assert any(not torch.equal(last[name], best_weights[name]) for name in last)


def test_without_it_the_newest_stay_and_the_last_is_the_model(recipe: Recipe, run: Run, plan: Plan) -> None:
    plan(SEEN)
    made = recipe(eval_every=2, save_every=4, keep=3)
    assert "the model is" not in run(made)
    assert kept(made.output) == [8, 12, 14]
    assert_same(weights(Path(made.output)), weights(Path(made.output) / "checkpoints/checkpoint-14"))


def test_the_average_of_the_best_is_the_model(recipe: Recipe, run: Run, plan: Plan) -> None:
    plan(SEEN)
    made = recipe(eval_every=2, keep_best=1, ema=0.5)
    run(made)
    average = load_file(Path(made.output) / "checkpoints/checkpoint-4" / AVERAGE_FILE)
    found = weights(Path(made.output))
    assert_same(found, {name: average[name] for name in found})


def test_a_checkpoint_holds_the_recipe_that_made_it(recipe: Recipe, run: Run) -> None:
    made = recipe(steps=2, decay="one-cycle", decay_settings={"div_factor": 4.0}, keep=3)
    run(made)
    assert read_recipe(Path(made.output) / "checkpoints/checkpoint-2/recipe.json", {}) == made


def test_weights_that_are_no_numbers_are_not_kept_for_their_loss(
    recipe: Recipe, run: Run, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(SEEN)

    def poison(self: Samples, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            with torch.no_grad():
                next(kwargs["model"].parameters()).view(-1)[0] = torch.nan

    monkeypatch.setattr(Samples, "on_step_begin", poison)
    made = recipe(eval_every=2, keep_best=1, log_every=100, save_every=100)
    with pytest.raises(TrainingError, match=r"the weights are not numbers at step 4; .*checkpoint-2\)\.$"):
        run(made)
    assert kept(made.output) == [2]


# -- the end of a training -----------------------------------------------------------------------------------

STOPPING = {2: 3.0, 4: 2.0, 6: 1.0, 8: 1.5, 10: 0.9995, 12: 0.5, 14: 0.4}


def test_a_training_ends_when_its_patience_does(recipe: Recipe, run: Run, plan: Plan) -> None:
    plan(STOPPING)
    changes = {"eval_every": 2, "min_delta": 0.001, "save_every": 100, "batch_size": 8, "accumulation": 1}
    made = recipe(patience=2, **changes)
    why = "2 measurements brought no held-out loss lower by more than 0.001"
    assert f"stopped at step 10 of 14: {why}\n" in run(made)
    assert kept(made.output) == [10]
    before = weights(Path(made.output))
    assert "stopped at step 10 of 14" in run(made, resume=True)
    assert kept(made.output) == [10]
    assert_same(before, weights(Path(made.output)))
    run(recipe(patience=3, **changes), resume=True)
    assert kept(made.output) == [14]


def test_a_training_that_goes_well_goes_to_its_end(recipe: Recipe, run: Run, plan: Plan) -> None:
    plan({step: 1.0 / step for step in range(2, 15, 2)})
    assert "stopped at" not in run(recipe(patience=1, eval_every=2))
    assert kept(recipe().output)[-1] == 14


@pytest.mark.parametrize(("at", "stop", "ema"), [(5, ctrl_c, 0.9), (7, crash, 0.9), (8, ctrl_c, 0.0)])
def test_a_resumed_run_stops_and_keeps_as_one_that_went_through(
    recipe: Recipe,
    run: Run,
    at_step: AtStep,
    plan: Plan,
    at: int,
    stop: Callable[[], None],
    ema: float,
) -> None:
    plan(STOPPING)
    changes: dict[str, Any] = {"eval_every": 2, "patience": 2, "min_delta": 0.001, "save_every": 4}
    changes |= {"keep_best": 2, "keep": 2, "ema": ema, "decay": "one-cycle", "log_every": 1}
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    assert kept(whole.output) == [6, 8, 10]
    at_step(at, stop)
    with pytest.raises((KeyboardInterrupt, TrainingError)):
        run(halved)
    run(halved, resume=True)
    assert kept(halved.output) == kept(whole.output)
    assert history(halved.output, 10) == history(whole.output, 10)
    assert_same(weights(Path(whole.output)), weights(Path(halved.output)))


@pytest.mark.parametrize(
    "bad",
    [
        {"keep_best": 1},
        {"keep_best": 1, "eval_every": 2, "eval_rows": 0},
        {"patience": 2},
        {"patience": 2, "eval_every": 2, "eval_rows": 0},
    ],
)
def test_decisions_need_measurements(recipe: Recipe, bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"by measurements of held-out text.*at least 1\.$") as caught:
        recipe(**bad)
    assert next(iter(bad)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [{"keep_best": -1}, {"patience": -1}, {"min_delta": float("nan")}])
def test_numbers_below_nothing_are_refused(recipe: Recipe, bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"must be 0 or more\.$"):
        recipe(eval_every=2, **bad)


# -- what is measured, and in what numbers -------------------------------------------------------------------


def test_the_average_takes_the_place_of_the_weights_and_gives_it_back() -> None:
    model = torch.nn.Linear(3, 2)
    copy = Average(0.9, None).copy
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    copy.weights = {name: torch.full_like(p, 0.1) for name, p in own.items()}
    with copy.inside(model):
        assert all(bool((p == 0.1).all()) for p in model.parameters())
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters())
    assert all(bool((mean == 0.1).all()) for mean in copy.weights.values())


def test_the_average_is_measured_on_the_way_as_at_the_end(recipe: Recipe, run: Run) -> None:
    def last(name: str, **changes: Any) -> str:
        said = run(recipe(name, steps=8, learning_rate=0.1, decay="constant", **changes))
        return [line for line in said.splitlines() if line.startswith("held out:")][-1]

    assert last("way", ema=0.9, eval_every=2) == last("end", ema=0.9) != last("own")


def test_float16_is_for_cuda_alone(recipe: Recipe, run: Run) -> None:
    with pytest.raises(SettingsError, match=r"^precision float16 needs a CUDA device.* is cpu") as caught:
        run(recipe(precision="float16", data="nowhere"))
    assert "\n" not in str(caught.value)


def test_an_overflow_of_the_scaled_gradient_is_no_failure(recipe: Recipe) -> None:
    look, state, control = StopWhenBroken().on_log, TrainerState(global_step=3), TrainerControl()
    plain, scaled = _arguments(recipe()), _arguments(recipe())
    scaled.fp16 = True
    overflow = {"loss": 1.0, "grad_norm": float("inf")}
    look(scaled, state, control, logs=overflow)
    with pytest.raises(TrainingError, match="the gradient is not a number"):
        look(plain, state, control, logs=overflow)
    with pytest.raises(TrainingError, match="the loss is not a number"):
        look(scaled, state, control, logs={"loss": float("nan")})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_float16_trains(recipe: Recipe, run: Run) -> None:
    run(recipe(precision="float16", device="cuda", steps=20, learning_rate=1e-3, eval_every=5, keep_best=1))
    assert all(bool(p.isfinite().all()) for p in weights(Path(recipe().output)).values())
