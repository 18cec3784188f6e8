"""train: recipe, flags over it, and what comes back; the training itself is a stand-in."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.cli import train as command
from textdiffusion.training import TrainingRecipe

from .conftest import Run


@dataclass
class Calls:
    """What the stand-in was asked for, and what it raises."""

    recipe: TrainingRecipe | None = None
    resume: bool | None = None
    error: BaseException | None = None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A training that does nothing but remember."""
    seen = Calls()

    def train(recipe: TrainingRecipe, *, resume: bool, console: Any) -> Path:
        seen.recipe, seen.resume = recipe, resume
        console.print("step 1")
        if seen.error is not None:
            raise seen.error
        return Path(recipe.output)

    monkeypatch.setattr(command, "train", train)
    return seen


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    """A small recipe."""
    file = tmp_path / "fox.yaml"
    file.write_text("data: fox.txt\nlength: 64\nlearning-rate: 1e-3\nstreaming: true\nsteps: 7\n")
    return str(file)


def test_flags_override_the_recipe_and_the_rest_keeps_its_default(
    run: Run, calls: Calls, recipe_file: str
) -> None:
    words = ["--steps", "9", "--network", "{hidden_size: 128}", "--betas", "0.8", "0.9", "--no-streaming"]
    shown = run("train", "--config", recipe_file, *words, "--clean", "nfc", "--output", "my runs/fox")
    assert shown.code == 0
    assert calls.recipe == TrainingRecipe(
        data="fox.txt",
        length=64,
        learning_rate=1e-3,
        steps=9,
        network={"hidden_size": 128},
        betas=(0.8, 0.9),
        clean=("nfc",),
        output="my runs/fox",
    )
    assert calls.resume is False
    assert "my runs/fox" in shown.out and "textdiffusion generate --model 'my runs/fox'" in shown.out
    assert shown.err == "step 1\n", "progress goes to standard error"


def test_defaults_alone(run: Run, calls: Calls) -> None:
    assert run("train", "--data", "fox.txt", "--resume").code == 0
    assert calls.recipe == TrainingRecipe(data="fox.txt") and calls.resume is True


def test_every_key_is_a_flag(run: Run) -> None:
    shown = run("train", "--help").out
    for entry in fields(TrainingRecipe):
        assert f"--{entry.name.replace('_', '-')}" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lenght", "3"], "Did you mean --length"),
        (["--length", "long"], "expected a whole number"),
        (["--length", "0"], "length is 0"),
        (["--network", "small"], "expected keys and values"),
        (["--objective", "nelb"], "Did you mean nelbo"),
        (["--config", "none.yaml"], "there is no recipe 'none.yaml'"),
        (["fox.yaml"], "one word too many"),
    ],
)
def test_bad_use(run: Run, calls: Calls, words: list[str], said: str) -> None:
    shown = run("train", "--data", "fox.txt", *words)
    assert shown.code == 2 and said in shown.error
    assert calls.recipe is None


def test_unknown_key_in_the_file_offers_the_nearest(run: Run, calls: Calls, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("lenght: 3\n")
    shown = run("train", "--config", str(file))
    assert shown.code == 2 and "Did you mean length" in shown.error


def test_the_file_of_another_system_is_translated(run: Run, calls: Calls, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    theirs = {"pipeline": "arm", "init_from": "gpt2", "memmap_path": "fox.txt", "resume_training": True}
    file.write_text(json.dumps(theirs))
    assert run("train", "--config", str(file), "--steps", "9").code == 0
    assert calls.recipe is not None and calls.resume is True
    assert (calls.recipe.model, calls.recipe.data) == ("openai-community/gpt2", "fox.txt")
    assert (calls.recipe.decay, calls.recipe.steps) == ("one-cycle", 9)
    assert run("train", "--config", str(file), "--no-resume").code == 0
    assert calls.resume is False


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_step": 3}, "Did you mean n_steps"),
        ({"n_steps": "3"}, "n_steps: expected int, got '3'."),
        ({"pipeline": "diffusion", "mask_id": 50256}, "mask_id 50256 is eos_token_id too"),
    ],
)
def test_the_file_of_another_system_is_checked_by_its_own_keys(
    run: Run, calls: Calls, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"pipeline": "arm", "init_from": "gpt2", **wrong}))
    shown = run("train", "--config", str(file))
    assert shown.code == 2 and said in shown.error
    assert calls.recipe is None


def test_missing_data_is_said(run: Run, tmp_path: Path) -> None:
    shown = run("train", "--output", str(tmp_path / "out"))
    assert shown.code == 2 and "--data" in shown.error


def test_interrupt_tells_how_to_go_on(run: Run, calls: Calls) -> None:
    calls.error = KeyboardInterrupt()
    shown = run("train", "--data", "fox.txt")
    assert shown.code == 130 and "--resume" in shown.err and shown.out == ""


def test_recipes_that_come_with_the_program_have_names(
    run: Run, calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "fox.yaml").write_text("data: fox.txt\nlength: 77\n")
    monkeypatch.setattr(command, "RECIPE_FOLDERS", (tmp_path, tmp_path / "none"))
    assert run("train", "--config", "sub/fox").code == 0
    assert calls.recipe is not None and calls.recipe.length == 77
    shown = run("train", "--config", "sub/fix")
    assert shown.code == 2 and "Did you mean sub/fox?" in shown.error


def test_recipes_of_the_checkout_are_found() -> None:
    shipped = Path(__file__).resolve().parents[2] / "recipes"
    for path in shipped.glob("*.yaml"):
        assert command.find_recipe(path.stem).samefile(path)


def test_of_several_processes_the_first_alone_speaks(
    run: Run, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    shown = run("train", "--data", "fox.txt")
    assert (shown.code, shown.out, shown.err) == (0, "", "")
    assert calls.recipe == TrainingRecipe(data="fox.txt")
