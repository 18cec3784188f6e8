"""Going on after an interruption, a crash, a full disk or a loss that is no number."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

import textdiffusion.training.run as run_module
from textdiffusion.checkpoint import load_checkpoint
from textdiffusion.errors import CheckpointError, SettingsError, TrainingError, UnknownNameError
from textdiffusion.training.callbacks import AVERAGE_FILE, Samples
from textdiffusion.training.resume import last_checkpoint

from .conftest import Recipe, ctrl_c

Run = Callable[..., str]
AtStep = Callable[[int, Callable[[], None]], None]


def crash() -> None:
    raise OSError("the power is gone")


def history(output: str, step: int) -> list[dict[str, Any]]:
    """All reports up to a checkpoint."""
    state = json.loads((Path(output) / f"checkpoints/checkpoint-{step}/trainer_state.json").read_text())
    logs: list[dict[str, Any]] = state["log_history"]
    return logs


def weights(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(folder / name)


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    ("start", "optimizer", "at", "stop"),
    [
        ("bert", "adamw", 10, ctrl_c),
        ("bert", "muon", 3, crash),
        ("new", "muon", 7, crash),
        ("new", "adamw", 12, ctrl_c),
    ],
)
def test_a_resumed_run_equals_one_that_went_through(
    recipe: Recipe,
    run: Run,
    at_step: AtStep,
    bert: Path,
    stop: Callable[[], None],
    start: str,
    optimizer: str,
    at: int,
) -> None:
    """Also in the second epoch or where it begins, with dropout, between reports and between checkpoints."""
    changes: dict[str, Any] = {
        "optimizer": optimizer,
        "ema": 0.9,
        "eval_every": 4,
        "save_every": 2,
        "sample_every": 5,
    }
    changes["model"] = {"bert": str(bert), "new": ""}[start]
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    at_step(at, stop)
    with pytest.raises((KeyboardInterrupt, TrainingError)):
        run(halved)
    found = last_checkpoint(Path(halved.output) / "checkpoints")
    assert found is not None
    assert found.name == f"checkpoint-{at + 1 if stop is ctrl_c else at - at % 2}"
    run(halved, resume=True)
    assert history(whole.output, 14) == history(halved.output, 14)
    assert history(whole.output, 14)[-1]["epoch"] > 1.5
    assert_same(weights(Path(whole.output)), weights(Path(halved.output)))
    last = "checkpoints/checkpoint-14"
    for name in ("model.safetensors", AVERAGE_FILE):
        assert_same(weights(Path(whole.output) / last, name), weights(Path(halved.output) / last, name))


def test_a_stream_goes_on_in_its_second_pass(recipe: Recipe, run: Run, at_step: AtStep, corpus: Path) -> None:
    changes = {"streaming": True, "validation_data": str(corpus), "shuffle_buffer": 8}
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    at_step(11, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(halved)
    run(halved, resume=True)
    assert history(whole.output, 14) == history(halved.output, 14)
    assert history(whole.output, 14)[-1]["step"] == 12
    assert_same(weights(Path(whole.output)), weights(Path(halved.output)))


def test_samples_do_not_disturb_the_run(recipe: Recipe, run: Run, bert: Path) -> None:
    seen, unseen = (
        recipe("seen", model=str(bert), sample_every=1, eval_every=2),
        recipe("unseen", model=str(bert)),
    )
    assert "sample at step 1:" in run(seen)
    run(unseen)
    assert_same(weights(Path(seen.output)), weights(Path(unseen.output)))


def test_a_finished_run_resumed_takes_no_further_step(recipe: Recipe, run: Run) -> None:
    made = recipe(steps=10, decay="constant")  # ends in the middle of an epoch, with steps that still matter
    run(made)
    before = weights(Path(made.output))
    run(made, resume=True)
    assert not (Path(made.output) / "checkpoints/checkpoint-11").exists()
    assert_same(before, weights(Path(made.output)))


def test_a_longer_run_goes_on_from_a_finished_one(recipe: Recipe, run: Run) -> None:
    run(recipe(steps=4))
    run(recipe(steps=6, save_every=1), resume=True)
    assert (Path(recipe().output) / "checkpoints/checkpoint-5").is_dir()  # the new interval holds


def test_ctrl_c_saves_a_whole_model(recipe: Recipe, run: Run, at_step: AtStep) -> None:
    made = recipe()
    before = signal.getsignal(signal.SIGINT)
    at_step(2, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert signal.getsignal(signal.SIGINT) is before
    folder = Path(made.output) / "checkpoints/checkpoint-3"
    loaded = load_checkpoint(str(folder))
    assert loaded.settings.length == made.length
    assert type(AutoModelForMaskedLM.from_pretrained(folder)) is type(loaded.model)


def test_the_second_ctrl_c_stops_at_once(recipe: Recipe, run: Run, at_step: AtStep) -> None:
    made = recipe()

    def twice() -> None:
        ctrl_c()
        ctrl_c()

    at_step(2, twice)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert last_checkpoint(Path(made.output) / "checkpoints") is None


def test_halves_are_passed_over_and_removed(recipe: Recipe, run: Run) -> None:
    made = recipe(steps=6)
    run(made)
    checkpoints = Path(made.output) / "checkpoints"
    half, torn, foreign = (checkpoints / f"checkpoint-{name}" for name in ("7", "8", "of-mine"))
    for folder in (half, torn, foreign):
        folder.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": ')
    assert last_checkpoint(checkpoints) == checkpoints / "checkpoint-6"
    run(recipe(steps=7), resume=True)
    assert not torn.exists()
    assert foreign.exists()


def test_nothing_to_resume_and_a_start_over_old_checkpoints_are_refused(recipe: Recipe, run: Run) -> None:
    with pytest.raises(SettingsError, match=r"no whole checkpoint in .*; leave --resume out to begin\.$"):
        run(recipe(), resume=True)
    run(recipe(steps=2))
    with pytest.raises(SettingsError, match=r"go on with --resume, or choose another --output\.$"):
        run(recipe(steps=2))


# -- what must never be saved -------------------------------------------------------------------------------


def test_an_absurd_learning_rate_is_named_and_not_saved(recipe: Recipe, run: Run) -> None:
    made = recipe(
        learning_rate=1e30, clip=0.0, log_every=100, save_every=1, warmup=0.0, decay="constant", steps=60
    )
    with pytest.raises(TrainingError, match=r"not numbers? at step \d+; lower the learning rate") as caught:
        run(made)
    assert "\n" not in str(caught.value)


def test_poisoned_weights_leave_the_last_good_checkpoint(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(log_every=100, save_every=2)

    def poison(self: Samples, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            with torch.no_grad():
                next(kwargs["model"].parameters()).view(-1)[0] = torch.nan

    monkeypatch.setattr(Samples, "on_step_begin", poison)
    with pytest.raises(TrainingError, match=r"the weights are not numbers at step 6; .*checkpoint-4\)\.$"):
        run(made)
    kept = last_checkpoint(Path(made.output) / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-4"
    assert all(bool(p.isfinite().all()) for p in load_checkpoint(str(kept)).model.parameters())


def test_a_report_names_a_loss_that_is_no_number(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(self: Samples, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            next(kwargs["model"].parameters()).fill_(torch.inf)

    monkeypatch.setattr(Samples, "on_step_begin", poison)
    with pytest.raises(TrainingError, match=r"the loss is not a number at step 3; .*nothing was saved yet"):
        run(recipe())


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "said",
    [
        "basic_ios::clear: iostream error",
        "[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598",
        "PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_the_words_of_torch_for_a_full_disk_are_made_plain(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch, at_step: AtStep, said: str
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(said)

    at_step(0, lambda: monkeypatch.setattr("torch.save", full))
    with pytest.raises(
        TrainingError, match=r"disk seems to be full.*\(no checkpoint was written yet\)\.$"
    ) as caught:
        run(recipe(save_every=1))
    assert "\n" not in str(caught.value)
    assert said not in str(caught.value)


@pytest.mark.parametrize("writer", ["optimizer", "weights"])
def test_a_full_disk_while_saving_a_checkpoint(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch, at_step: AtStep, writer: str
) -> None:
    made = recipe(save_every=4, ema=0.9)

    def full(*args: Any, **kwargs: Any) -> None:
        raise FULL

    where = {"optimizer": "torch.save", "weights": "textdiffusion.training.weight_copy.save_file"}[writer]
    at_step(6, lambda: monkeypatch.setattr(where, full))
    with pytest.raises(
        TrainingError, match=r"^training stopped: .*No space left.*checkpoint-4 with --resume\)\.$"
    ):
        run(made)
    assert os.listdir(Path(made.output) / "checkpoints") == ["checkpoint-4"]
    monkeypatch.undo()
    run(made, resume=True)


def test_a_full_disk_at_the_end_keeps_the_model_that_was_there(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe(steps=2))
    output = Path(recipe().output)
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}

    def full(*args: Any) -> None:
        raise FULL

    monkeypatch.setattr("textdiffusion.checkpoint.write_settings", full)
    with pytest.raises(CheckpointError, match="No space left"):
        run(recipe(steps=4), resume=True)
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before
    assert (output / "checkpoints/checkpoint-4").is_dir()
    monkeypatch.undo()
    run(recipe(steps=4), resume=True)
    assert (output / "checkpoints/checkpoint-4").is_dir()
    assert load_checkpoint(str(output)).settings.length == 16


def test_an_output_that_cannot_be_written_is_refused_at_once(
    recipe: Recipe, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot write to output"):
        run(recipe("file"))


# -- around a run -------------------------------------------------------------------------------------------


def test_tensorboard_gets_its_files(recipe: Recipe, run: Run) -> None:
    run(recipe(report_to="tensorboard", steps=3))
    assert list(Path(recipe().output).rglob("events.out.tfevents.*"))


def test_an_optimiser_that_does_not_exist_is_named_before_anything_is_read(recipe: Recipe, run: Run) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean adamw"):
        run(recipe(optimizer="adam", data="nowhere"))


def test_a_reporter_that_is_not_installed_is_named_before_anything_is_read(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(run_module, "prepare", None)
    with pytest.raises(SettingsError, match=r"'wandb'.* is not installed; install textdiffusion\[wandb\]"):
        run(recipe(report_to="wandb"))


def test_only_our_own_lines_are_printed(
    recipe: Recipe, run: Run, capfd: pytest.CaptureFixture[str], bert: Path
) -> None:
    said = run(recipe(model=str(bert), save_every=2, keep=1))
    assert "step 3/14" in said
    assert "held out:" in said
    caught = capfd.readouterr()
    assert (caught.out, caught.err) == ("", "")


def test_a_prompt_without_room_is_refused_before_training(recipe: Recipe, run: Run) -> None:
    with pytest.raises(SettingsError, match="sample_prompt leaves no room in 16 tokens"):
        run(recipe(sample_prompt="the cat sat on the mat and saw that dog run over the hill by the red sea"))
