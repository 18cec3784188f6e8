"""What is read back of a training, and how it is shown: the same numbers as those that were logged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.cli.explore.training import drawn
from textdiffusion.cli.main import main
from textdiffusion.errors import DataError
from textdiffusion.training.history import by_bucket, by_level, read_history

from .conftest import Recipe

Run = Callable[..., Any]


@pytest.fixture
def trained(recipe: Recipe, run: Run) -> Path:
    """A short training that was measured thrice."""
    run(made := recipe(steps=9, log_every=3, eval_every=3, save_every=3))
    return Path(made.output)


def logged(folder: Path, step: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (folder / f"checkpoints/checkpoint-{step}/trainer_state.json").read_text()
    )["log_history"]
    return found


def test_reports_and_measurements_are_those_that_were_logged(trained: Path) -> None:
    history = read_history(trained)
    entries = logged(trained, 9)
    assert history.name == trained.name
    assert [row["loss"] for row in history.trained] == [e["loss"] for e in entries if "loss" in e]
    held = [entry for entry in entries if "eval_loss" in entry]
    assert [(row["step"], row["loss"]) for row in history.held_out] == [
        (e["step"], e["eval_loss"]) for e in held
    ]
    assert len(history.held_out) == 3 and history.best is not None
    assert history.best["loss"] == min(entry["eval_loss"] for entry in held)
    last = history.held_out[-1]
    assert by_level(last) == {
        n / 100: held[-1][f"eval_loss_at_{n}"] for n in range(10, 101, 10) if f"eval_loss_at_{n}" in held[-1]
    }
    edges = (25, 50, 75, 100)
    own = {n / 100: held[-1].get(f"eval_accuracy_to_{n}") for n in edges}
    assert by_bucket(last) == {edge: value for edge, value in own.items() if value is not None} != {}


def test_a_checkpoint_tells_up_to_its_step_and_a_torn_one_is_passed_over(trained: Path) -> None:
    step = next(trained.glob("checkpoints/checkpoint-6"))
    assert max(row["step"] for row in read_history(step).trained) == 6
    (trained / "checkpoints/checkpoint-9/trainer_state.json").write_text('{"log_history": [')
    assert max(row["step"] for row in read_history(trained).trained) == 6


def test_what_is_drawn_ends_with_the_last_measurement(trained: Path) -> None:
    history = read_history(trained)
    shown = drawn(history)
    assert [step for step, _ in shown.losses] == [3, 6, 9]
    assert shown.levels == list(by_level(history.held_out[-1]).items())
    assert set(shown.accuracies) == {"learnt", "held out"}


def test_the_command_prints_and_draws(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = trained / "curves.png"
    assert main(["explore", "training", str(trained), "--beside", str(trained), "--save", str(picture)]) == 0
    best = read_history(trained).best
    assert best is not None
    out = capsys.readouterr().out
    assert f"{best['loss']:.3f}" in out and out.count(f"{best['step']} *") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["explore", "training", str(trained), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["trained"] * 3 + ["held_out"] * 3


@pytest.mark.parametrize("words", [[], ["nowhere"]], ids=["unnamed", "missing"])
def test_a_folder_without_a_training_is_refused_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "training", *words]) != 0
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text("[]")
    with pytest.raises(DataError, match="no training"):
        read_history(tmp_path)
