"""The plan for large trainings: its page has the numbers of its script, which are those of the network."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from test_docs import refusal
from torch.distributed.run import get_args_parser

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers.adapt import denoiser_of, recompute_activations
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.evaluation.memory import kept
from textdiffusion.objectives import CountNelbo
from textdiffusion.randomness import RowGenerator
from textdiffusion.training.recipe import TrainingRecipe, read_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/scale-1b.yaml"
SLURM = ROOT / "examples/launch/slurm.sh"
FSDP = ROOT / "examples/launch/fsdp2.yaml"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plan = script("plan")


# -- the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plan.TABLES)
def test_the_page_has_the_tables_of_the_script(name: str) -> None:
    assert plan.markdown(plan.TABLES[name]()) in (ROOT / "docs/scaling.md").read_text("utf-8")


def recipe() -> TrainingRecipe:
    return read_recipe(RECIPE, {})


def test_the_plan_is_about_the_recipe() -> None:
    shape, batch, one, eight = plan.Shape(), plan.Batch(), plan.Machine(), plan.Machine(nodes=8)
    made = recipe()
    assert made.network == {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": batch.length,
    }
    assert (made.vocab_size, made.batch_size, made.length) == (shape.vocab, batch.rows, batch.length)
    per_step = made.accumulation * one.devices * batch.tokens
    assert per_step == eight.devices * batch.tokens == 2**20
    assert made.steps * per_step == pytest.approx(20 * shape.parameters, rel=0.01)


# -- the formulas ----------------------------------------------------------------------------------------


def network(shape: object, *, device: str = "cpu") -> DiffusionTransformerForMaskedLM:
    config = DiffusionTransformerConfig(
        vocab_size=shape.vocab,  # type: ignore[attr-defined]
        hidden_size=shape.width,  # type: ignore[attr-defined]
        num_hidden_layers=shape.layers,  # type: ignore[attr-defined]
        num_attention_heads=shape.heads,  # type: ignore[attr-defined]
        intermediate_size=shape.inner,  # type: ignore[attr-defined]
    )
    with torch.device(device):
        return DiffusionTransformerForMaskedLM(config)


def test_the_parameters_are_counted_as_they_are() -> None:
    assert (
        sum(p.numel() for p in network(plan.Shape(), device="meta").parameters()) == plan.Shape().parameters
    )


SMALL = plan.Shape(vocab=50, width=32, layers=3, heads=2, inner=88)


def keeps(shape: object, rows: int, length: int, *, recompute: bool) -> int:
    """Bytes kept of a step of a real network."""
    model = network(shape).train()
    if recompute:
        recompute_activations(model)
    tokens = torch.zeros(rows, length, dtype=torch.long)
    seen = torch.ones_like(tokens, dtype=torch.bool)
    generator = RowGenerator.for_batch(0, 0, first=0, rows=rows, total=rows)
    with kept(model.parameters()) as counted:
        CountNelbo()(denoiser_of(model), Absorbing(49), Canvas(tokens, seen, seen), generator)
    return counted.bytes


@pytest.mark.parametrize("recompute", [False, True])
def test_a_layer_keeps_what_the_formula_says(recompute: bool) -> None:
    """By the difference of two depths, so that embeddings, head and what all layers share drop out."""
    more = plan.Shape(**{**vars(SMALL), "layers": SMALL.layers + 2})
    rows, length = 4, 16
    batch = plan.Batch(rows=rows, length=length)
    measured, formula = (
        of(more) - of(SMALL)
        for of in (
            lambda shape: keeps(shape, rows, length, recompute=recompute),
            lambda shape: plan.activation_bytes(shape, batch, recompute=recompute, size=4, fused=False),
        )
    )
    assert measured == formula


# -- the ways to start it --------------------------------------------------------------------------------

LAUNCHES = [
    line.lstrip("# ")
    for path in (ROOT / "docs/scaling.md", RECIPE, FSDP)
    for line in path.read_text("utf-8").splitlines()
    if re.match(r"(?:# *)?(?:torchrun|accelerate launch) ", line)
]


@pytest.mark.parametrize("line", LAUNCHES)
def test_the_lines_that_start_it_are_understood(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the parsers of torchrun and Accelerate themselves, and what is left by ours."""
    words = shlex.split(line)
    parsers = {"torchrun": (get_args_parser, 1), "accelerate": (launch_command_parser, 2)}
    parser, skipped = parsers[words[0]]
    told = parser().parse_args(words[skipped:])
    assert (told.module, told.training_script) == (True, "textdiffusion")
    assert told.training_script_args[:2] == ["train", "--config"]
    assert not refusal(told.training_script_args, capsys)


STUB = """#!/bin/bash
printf '%s\\n' "$@"
"""


def stub(folder: Path, name: str, says: str) -> None:
    (folder / name).write_text(says)
    (folder / name).chmod(0o755)


def started(tmp_path: Path, *words: str) -> list[str]:
    """The words that the script of Slurm gives to srun."""
    stub(tmp_path, "srun", STUB)
    stub(tmp_path, "scontrol", '#!/bin/bash\ntest "$*" = "show hostnames node[3-10]"\nseq -f node%g 3 10\n')
    slurm = {"SLURM_JOB_NODELIST": "node[3-10]", "SLURM_JOB_ID": "4123456", "SLURM_NNODES": "8"}
    slurm |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUTPUT": str(tmp_path / "out")}
    done = subprocess.run(
        ["bash", str(SLURM), *words],
        env={**os.environ, **slurm},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_slurm_starts_one_torchrun_a_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = started(tmp_path, "--data", "my text")
    assert words[:2] == ["--kill-on-bad-exit=1", "torchrun"]
    told = get_args_parser().parse_args(words[2:])
    assert (told.nnodes, told.nproc_per_node, told.module) == ("8", "8", True)
    assert told.rdzv_endpoint == f"node3:{20000 + 4123456 % 20000}"
    assert (told.rdzv_backend, told.rdzv_id) == ("c10d", "4123456")
    assert told.training_script == "textdiffusion"
    assert told.training_script_args[-2:] == ["--data", "my text"]
    assert "--resume" not in told.training_script_args
    assert not refusal(told.training_script_args, capsys)
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", SLURM.read_text("utf-8"), re.MULTILINE))
    assert (directives["nodes"], directives["ntasks-per-node"], directives["gpus-per-node"]) == (
        "8",
        "1",
        "8",
    )


def test_slurm_goes_on_from_a_whole_checkpoint_alone(tmp_path: Path) -> None:
    checkpoint = tmp_path / "out/checkpoints/checkpoint-500"
    checkpoint.mkdir(parents=True)
    assert "--resume" not in started(tmp_path)
    (checkpoint / "trainer_state.json").write_text("{}")
    assert started(tmp_path)[-1] == "--resume"


def test_the_script_is_understood_by_bash_and_stops_at_an_error(tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(SLURM)], check=False).returncode == 0
    done = subprocess.run(
        ["bash", str(SLURM)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert done.returncode != 0 and b"SLURM_JOB_NODELIST" in done.stderr
