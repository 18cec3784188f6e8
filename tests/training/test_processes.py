"""One process, two that share a batch and two that share the weights too: the same losses and models."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file

from textdiffusion.checkpoint import load_checkpoint
from textdiffusion.errors import SettingsError, TrainingError
from textdiffusion.settings import read_mapping
from textdiffusion.time_embedding import TIME_FILE
from textdiffusion.training.callbacks import AVERAGE_FILE
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.teacher import TEACHER_FILE

from .conftest import NETWORK, Recipe, small_recipe, training

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]
SCRIPT = """
import io, json, os, shutil, sys
import torch
from rich.console import Console
from textdiffusion.errors import IncompatibleError
from textdiffusion.settings import from_mapping
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.teacher import TEACHER_FILE
from textdiffusion.training.run import train

for order in json.loads(open(sys.argv[1]).read()):
    recipe = from_mapping(TrainingRecipe, order["recipe"])
    if order["resume"]:
        if os.environ["RANK"] == "0":
            shutil.copytree(order["resume"], recipe.output + "/checkpoints/checkpoint-2")
        torch.distributed.barrier()
    before = dict(os.environ)
    os.environ.update(order["environment"])
    try:
        train(recipe, resume=bool(order["resume"]), console=Console(file=io.StringIO()))
    except IncompatibleError as error:
        open(recipe.output + "/refused", "w").write(str(error))
    os.environ.clear()  # of what Accelerate leaves there, too
    os.environ.update(before)
"""


@dataclass(frozen=True)
class Order:
    """What one training of two processes is told beyond what all are told."""

    like: str
    """Which of the trainings of one process it must equal."""
    changes: Mapping[str, Any]
    resumes: str = ""
    """Which training it takes the checkpoint of step 2 from."""
    launched: bool = False
    """Whether it is Accelerate that asks for shards, as `examples/launch/fsdp2.yaml` does."""


ALL: dict[str, Any] = {
    "steps": 4,
    "log_every": 1,
    "save_every": 2,
    "eval_every": 2,
    "learning_rate": 3e-3,
    "random_prefix": True,
    "prefix_length": 3,
}
BLOCKS: dict[str, Any] = {"objective": "block-nelbo", "objective_settings": {"block_size": 4}}
KINDS: dict[str, dict[str, Any]] = {
    "own": {"ema": 0.9, "keep_best": 1, "patience": 2},
    "muon": {"optimizer": "muon", "clip": 0.0, "network": {**NETWORK, "intermediate_size": 24}},
    "gpt2": {"model": "gpt2", **BLOCKS},
    "lora": {"model": "llama", **BLOCKS, "lora": {"rank": 2}, "ema": 0.9, "keep_best": 1},
    "bert": {"model": "bert"},
    "uniform": {"noise": "uniform", "ema": 0.9},
    "duo": {"noise": "uniform", "objective": "duo"},
    "time": {"model": "gpt2", "noise": "uniform", "time_conditioning": True},
    "tied": {"model": "gpt2", **BLOCKS, "lora": {"rank": 2}},
    "sdtt": {
        **{"model": "gpt2", "objective": "sdtt", "ema": 0.9},
        "objective_settings": {"round_steps": 2, "sampling_steps": 4},
    },
    "fillers": {
        **{"data": "short", "arrange": "truncated", "length": 24, "after_end": "pad"},
        **{"pad_annealing": 3, "random_room": 0.5, "end_share": 0.25},
    },
}
"""Trainings of one process."""
KINDS["scale"] = {
    **read_mapping(ROOT / "recipes/scale-1b.yaml"),
    **ALL,
    "network": {**NETWORK, "num_hidden_layers": 2},
    **{"length": 16, "vocab_size": 320, "accumulation": 1, "eval_rows": 8, "shard_size": "50KB"},
    **{"precision": "float32", "fsdp": False},
}
"""The recipe for a billion parameters, made tiny."""
SHARDS = {"fsdp": True}
ORDERS: dict[str, Order] = {
    "own-ddp": Order("own", {}),
    "own-fsdp": Order("own", {**SHARDS, "sample_every": 2}),
    "own-resumed": Order("own", {**SHARDS, "sample_every": 2}, resumes="own-fsdp"),
    "own-launched": Order("own", {}, launched=True),
    "muon-fsdp": Order("muon", SHARDS),
    "gpt2-fsdp": Order("gpt2", {**SHARDS, "gradient_checkpointing": True}),
    "lora-fsdp": Order("lora", SHARDS),
    "scale-fsdp": Order("scale", SHARDS),
    "uniform-fsdp": Order("uniform", SHARDS),
    "duo-ddp": Order("duo", {"batch_size": 2, "accumulation": 4}),
    "duo-fsdp": Order("duo", SHARDS),
    "time-ddp": Order("time", {}),
    "time-fsdp": Order("time", SHARDS),
    "sdtt-ddp": Order("sdtt", {"batch_size": 2, "accumulation": 4}),
    "sdtt-fsdp": Order("sdtt", SHARDS),
    "fillers-ddp": Order("fillers", {"batch_size": 2, "accumulation": 4}),
    "fillers-fsdp": Order("fillers", SHARDS),
}
REFUSED = {"bert-fsdp": Order("bert", SHARDS), "tied-fsdp": Order("tied", SHARDS)}
"""Networks with weights that are used in two places, beside a table of embeddings that is the head too."""
every_order = pytest.mark.parametrize("name", ORDERS)


@pytest.fixture(scope="module")
def places(
    gpt2: Path, llama: Path, bert: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """Models to start from, and short texts of which each is a document."""
    short = tmp_path_factory.mktemp("short") / "texts.jsonl"
    short.write_text("\n".join(json.dumps({"text": text[:20]}) for text in texts), encoding="utf-8")
    return {"gpt2": gpt2, "llama": llama, "bert": bert, "short": short}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path, places: Mapping[str, Path]) -> Path:
    """All trainings of two processes, by gloo on the CPU, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("processes")
    orders = []
    for name, order in {**ORDERS, **REFUSED}.items():
        recipe = told(corpus, places, folder / name, order.like, **{"batch_size": 4, **order.changes})
        source = folder / order.resumes / "checkpoints/checkpoint-2"
        orders.append(
            {
                "recipe": {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)},
                "resume": str(source) if order.resumes else "",
                "environment": accelerate_environment() if order.launched else {},
            }
        )
    (folder / "orders.json").write_text(json.dumps(orders))
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, str(folder / "script.py"), str(folder / "orders.json")],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, corpus: Path, places: Mapping[str, Path]
) -> Callable[[str], Path]:
    """The folder of a training of one process with twice the batch."""
    root = tmp_path_factory.mktemp("alone")

    def made(kind: str) -> Path:
        if not (root / kind).exists():
            training(told(corpus, places, root / kind, kind, batch_size=8))
        return root / kind

    return made


def told(corpus: Path, places: Mapping[str, Path], output: Path, kind: str, **changes: Any) -> TrainingRecipe:
    given = {**ALL, **KINDS[kind], **changes}
    if "model" in given:
        given |= {"model": str(places[given["model"]]), "dropout": 0.0, "network": {}}
    if "data" in given:
        given["data"] = str(places[given["data"]])
    return small_recipe(corpus, output, **{name: given[name] for name in given if name != "output"})


def accelerate_environment() -> dict[str, str]:
    """What `accelerate launch` sets for our configuration, with two settings that we settle otherwise."""
    file = ROOT / "examples/launch/fsdp2.yaml"
    words = ["--config_file", str(file), "--num_processes", "2", "--main_process_port", "0"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args([*words, "script.py"]))
    found = prepare_multi_gpu_env(args)
    new = {name: value for name, value in found.items() if os.environ.get(name) != value}
    told = {name: value for name, value in new.items() if name.startswith(("ACCELERATE", "FSDP"))}
    return {**told, "FSDP_ACTIVATION_CHECKPOINTING": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}


def reports(folder: Path) -> list[dict[str, float]]:
    state = json.loads((folder / "checkpoints/checkpoint-4/trainer_state.json").read_text())
    found: list[dict[str, float]] = state["log_history"]
    return found


def saved(kind: str) -> list[str]:
    """The weights that a training leaves behind."""
    average, teacher = (f"checkpoints/checkpoint-4/{name}" for name in (AVERAGE_FILE, TEACHER_FILE))
    told = [TIME_FILE] if {"model", "time_conditioning"} <= KINDS[kind].keys() else []
    told += [teacher] if kind == "sdtt" else []
    return ["model*.safetensors", *([average] if "ema" in KINDS[kind] else []), *told]


def weights(folder: Path, files: str) -> dict[str, torch.Tensor]:
    """Those in one file or in several."""
    found = {name: weight for path in folder.glob(files) for name, weight in load_file(path).items()}
    assert found
    return found


@every_order
def test_two_processes_train_as_one_does_with_twice_the_batch(
    name: str, trained: Path, alone: Callable[[str], Path]
) -> None:
    """Same rows, same noise, same loss, same norm of the gradient, same weights."""
    one, two = alone(ORDERS[name].like), trained / name
    assert [entry["step"] for entry in reports(one)] == [entry["step"] for entry in reports(two)]
    for a, b in zip(reports(one), reports(two), strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-5)
    for file in saved(ORDERS[name].like):
        a, b = weights(one, file), weights(two, file)
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-4)


@every_order
def test_the_result_is_an_ordinary_model_and_so_is_every_checkpoint(name: str, trained: Path) -> None:
    folder = trained / name
    loaded = load_checkpoint(str(folder))
    assert type(loaded.model).__name__ in loaded.model.config.architectures
    for step in (2, 4):
        on_the_way = load_checkpoint(str(folder / f"checkpoints/checkpoint-{step}"))
        assert on_the_way.settings == loaded.settings
        assert [p.shape for p in on_the_way.model.parameters()] == [
            p.shape for p in loaded.model.parameters()
        ]


@every_order
def test_shards_were_made_where_they_were_asked_for(name: str, trained: Path) -> None:
    """The state of the optimiser is written by torch.distributed.checkpoint then."""
    checkpoint = trained / name / "checkpoints/checkpoint-4"
    written = {path.name for path in checkpoint.glob("optimizer*")}
    kind = "optimizer.pt" if name.endswith("ddp") else "optimizer.bin"
    assert written == {"optimizer_0" if ORDERS[name].launched else kind}


@pytest.mark.parametrize("name", ["fillers-ddp", "fillers-fsdp"])
def test_among_what_is_compared_are_steps_on_ends_alone(name: str, trained: Path) -> None:
    """The last of four; in the three before it fillers grow from none."""
    assert [entry["step"] for entry in reports(trained / name) if "end_loss" in entry] == [4]


def test_resumed_shards_give_the_same_run(trained: Path) -> None:
    whole, resumed = trained / "own-fsdp", trained / "own-resumed"
    assert reports(whole) == reports(resumed)
    for file in saved("own"):
        a, b = weights(whole, file), weights(resumed, file)
        assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_a_run_goes_on_with_another_number_of_processes(
    trained: Path, alone: Callable[[str], Path], corpus: Path, places: Mapping[str, Path], tmp_path: Path
) -> None:
    """Begun by two, ended by one with twice the batch."""
    start = trained / "own-ddp/checkpoints/checkpoint-2"
    shutil.copytree(start, tmp_path / "checkpoints/checkpoint-2")
    training(told(corpus, places, tmp_path, "own", batch_size=8), resume=True)
    for a, b in zip(reports(alone("own")), reports(tmp_path), strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-5)


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_weights_in_two_places_are_refused(name: str, trained: Path) -> None:
    said = (trained / name / "refused").read_text()
    assert said.endswith("weights in two places and cannot be shared out among processes: leave fsdp out.")


def test_one_process_has_nothing_to_share_out(recipe: Recipe, run: Run) -> None:
    with pytest.raises(SettingsError, match=r"only this one: start several, .*\(--no-fsdp\)\.$"):
        run(recipe(fsdp=True))


def test_the_first_kind_of_shards_is_refused(
    recipe: Recipe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in accelerate_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(SettingsError, match=r"set fsdp_version: 2 in its configuration\.$"):
        run(recipe())


def test_a_checkpoint_with_shards_is_not_gone_on_from_without(recipe: Recipe, run: Run) -> None:
    made = recipe(steps=2)
    run(made)
    checkpoint = Path(made.output) / "checkpoints/checkpoint-2"
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    with pytest.raises(TrainingError, match=r"was written with shards \(fsdp\); go on as you began\.$"):
        run(recipe(steps=4), resume=True)
