"""Trainings that learn from a teacher: its rounds, its weights, and what an interruption leaves of them."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

import textdiffusion as td
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.objectives import SelfDistillation
from textdiffusion.settings import read_mapping
from textdiffusion.tokens import TextFormat
from textdiffusion.training.callbacks import AVERAGE_FILE
from textdiffusion.training.teacher import TEACHER_FILE, Teacher

from .conftest import Recipe, ctrl_c
from .test_trainer import gradient, make_trainer, micro_batches

Run = Callable[..., str]
AtStep = Callable[[int, Callable[[], None]], None]
RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SDTT: dict[str, Any] = {
    "objective": "sdtt",
    "objective_settings": {"round_steps": 3, "sampling_steps": 8},
}


def checkpoint(output: str, step: int, file: str) -> dict[str, torch.Tensor]:
    return load_file(Path(output) / f"checkpoints/checkpoint-{step}" / file)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def reports(output: str, step: int) -> list[dict[str, Any]]:
    state = Path(output) / f"checkpoints/checkpoint-{step}/trainer_state.json"
    found: list[dict[str, Any]] = json.loads(state.read_text())["log_history"]
    return found


# -- rounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_student_becomes_the_teacher_by_optimiser_steps(
    recipe: Recipe, run: Run, bert: Path, ema: float
) -> None:
    """After 3 and 6 of them, though each is two micro-batches; the third round is the last of 8 steps."""
    made = recipe(
        **SDTT, model=str(bert), steps=9, ema=ema, save_every=1, keep=99, log_every=1, learning_rate=1e-2
    )
    run(made)
    student = {
        step: checkpoint(made.output, step, AVERAGE_FILE if ema else "model.safetensors") for step in (3, 6)
    }
    teachers = [checkpoint(made.output, step, TEACHER_FILE) for step in range(1, 10)]
    first = load_file(bert / "model.safetensors")
    known = [name for name in teachers[0] if name in first]
    assert len(known) > 5 and all(torch.equal(teachers[0][name], first[name]) for name in known)
    for step, teacher in enumerate(teachers, start=1):
        expected = {0: teachers[0], 1: student[3]}.get(step // 3, student[6])
        assert same(teacher, expected)
    assert not same(teachers[0], student[3]) and not same(student[3], student[6])
    sizes = [entry["teacher_step_size"] for entry in reports(made.output, 9) if "loss" in entry]
    assert sizes == [1 / 8] * 3 + [1 / 4] * 3 + [1 / 2] * 3


@pytest.mark.parametrize(("ema", "at"), [(0.9, 4), (0.0, 6)])
def test_a_resumed_run_equals_one_that_went_through(
    recipe: Recipe, run: Run, at_step: AtStep, bert: Path, ema: float, at: int
) -> None:
    """Within a round and where one begins, with dropout of the student; the teacher is in the checkpoint."""
    changes = {**SDTT, "model": str(bert), "steps": 7, "ema": ema, "save_every": 7, "eval_every": 4}
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    at_step(at - 1, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(halved)
    assert (Path(halved.output) / f"checkpoints/checkpoint-{at}" / TEACHER_FILE).is_file()
    run(halved, resume=True)
    assert reports(whole.output, 7) == reports(halved.output, 7)
    for file in ("model.safetensors", TEACHER_FILE, *([AVERAGE_FILE] if ema else [])):
        assert same(checkpoint(whole.output, 7, file), checkpoint(halved.output, 7, file))


# -- a lent network --------------------------------------------------------------------------------------


class Apart(Denoiser):
    """A second network, as one would write it down."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.own = denoiser_of(network)

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.no_grad():
            return self.own(*args, **kwargs)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_one_network_teaches_as_two_would(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, texts: list[str], precision: str
) -> None:
    """The same loss and gradient as with a second network; its own weights and dropout come back."""
    rows = [{"input_ids": ids[:16]} for ids in TextFormat.of(tokenizer).document(texts)]
    rule = SelfDistillation(round_steps=3, sampling_steps=4)
    teacher = Teacher(rule, None, None)
    trainer = make_trainer(
        recipe(dropout=0.0, precision=precision),
        tokenizer,
        rows,
        objective=rule,
        teacher=teacher,
        callbacks=[teacher],
    )
    network = trainer.network
    other = deepcopy(network).eval()
    teacher.copy.begin(network)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())), alpha=0.3)
    before = deepcopy(network.state_dict())
    loss, grads = gradient(trainer, 2)
    assert network.training and same(before, network.state_dict())
    assert same(dict(other.named_parameters()), teacher.copy.weights)

    samples, items = micro_batches(trainer, 2)
    trainer.teacher, trainer.objective = None, rule.taught(Apart(other), 0)
    network.zero_grad()
    expected = sum(trainer.compute_loss(network, dict(each), num_items_in_batch=items) for each in samples)
    assert isinstance(expected, torch.Tensor)
    expected.backward()  # type: ignore[no-untyped-call]
    assert expected.item() == pytest.approx(loss, rel=1e-5) and loss > 0.01
    for name, p in network.named_parameters():
        torch.testing.assert_close(grads[name], p.grad, rtol=1e-4, atol=1e-7)


# -- from recipe to text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["masked", "uniform"])
def test_the_recipes_distil(recipe: Recipe, run: Run, name: str) -> None:
    """Made tiny; what they begin with is trained first."""
    given = read_mapping(RECIPES / f"distil-{name}.yaml")
    noise = given.get("noise", "absorbing")
    run(recipe("trained", noise=noise, steps=3))
    tiny = {
        "length": 16,
        "batch_size": 4,
        "steps": 5,
        "eval_every": 5,
        "eval_rows": 8,
        "precision": "float32",
    }
    settings = {**given["objective_settings"], "round_steps": 2}
    own = {"model": recipe("trained").output, "log_every": 1, "save_every": 5, "network": {}}
    made = recipe("distilled", **{**given, **tiny, **own, "objective_settings": settings})
    assert "held out" in run(made)
    logged = [entry for entry in reports(made.output, 5) if "loss" in entry]
    assert [entry["teacher_step_size"] * 128 for entry in logged] == [1, 1, 2, 2, 4]
    assert all(entry["loss"] >= 0.0 for entry in logged)
    lm = td.load(made.output)
    assert lm.settings.noise == noise
    written = lm.generate("the cat", length=8, seed=0)
    assert written.sampler == given["decoding"]["sampler"] and written.nfe == 1


# -- refusals --------------------------------------------------------------------------------------------


def test_an_untrained_network_is_not_distilled(recipe: Recipe, run: Run) -> None:
    with pytest.raises(SettingsError, match=r"^the objective sdtt distils a model .* by --model\.$"):
        run(recipe(**SDTT, data="nowhere"))


def test_the_noise_is_that_of_the_model(recipe: Recipe, run: Run, bert: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"has learnt noise absorbing .* noise uniform and \{\}; give the"
    ):
        run(recipe(objective="dcd", noise="uniform", model=str(bert)))
    with pytest.raises(IncompatibleError, match="the objective dcd is for noise that is uniform"):
        run(recipe(objective="dcd", model=str(bert)))


def test_settings_of_a_teacher_are_no_keys(recipe: Recipe) -> None:
    with pytest.raises(SettingsError, match=r"unknown key 'objective_settings\.teacher'"):
        recipe(objective="sdtt", objective_settings={"teacher": "x"})
    assert recipe(**SDTT).loss() == SelfDistillation(round_steps=3, sampling_steps=8)
