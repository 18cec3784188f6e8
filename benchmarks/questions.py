"""Questions that learners ask, answered by experiments of equal budget.

What if only half of each text were ever hidden in training? Is one shot enough, or does it take many steps?
Is it better to begin from nothing or from a trained model? For each seed three models learn in equally many
steps, of the same rows in the same order: one from nothing at any share of hidden tokens, one from nothing at
a share of a half, and the bundled model, tuned. All have its shape and its tokenizer. Texts are written from
nothing and read by a judge of half of the text that these models have not seen, such as that of frontier.py;
the bundled model had read more of it before. What is trained, written and measured is kept in `--runs` and
not done again, and a training that was interrupted goes on where it stopped.

python benchmarks/questions.py --data STORIES --scorer JUDGE --save docs/results/questions.md
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import tyro
from bounds import QUIET, test_windows, train_to
from halves import half
from judged import Row, Writing, bound, entropy, human, judged, loaded, per_token
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.checkpoint import STARTER
from textdiffusion.mask_rates import WeightedRates
from textdiffusion.objectives import CrossEntropy
from textdiffusion.randomness import RowGenerator
from textdiffusion.views.files import write_whole

ANY, HALF, TUNED, BUNDLED = "any share hidden", "always a half", "from the bundled model", "as it is bundled"
SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
FLAT = {"objective": "cross-entropy"}
ONE_LEVEL = {"mask_rates": "weighted", "mask_rate_settings": {"rates": [0.5], "weights": [1.0]}}
GENTLY = {"optimizer": "adamw", "learning_rate": 3e-4}
"""How the bundled model is tuned: at the rates of a new one it forgets what it knew."""
CUT = {"temperature": 1.0, "top_k": 0, "top_p": 0.9}
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Shares of hidden tokens at which the cross-entropy is told."""


@dataclass(frozen=True)
class Size:
    """How much is trained, written and measured."""

    length: int = 128
    """Tokens of a row of the training, and of a window that is measured."""
    written: int = 80
    """Tokens of a text, its begin included, which the judge must hold in tokens of its own."""
    steps: int = 1000
    """Optimiser steps of each training."""
    rows: int = 16
    """Rows of a step."""
    texts: int = 64
    """Texts for each model, number of steps and seed."""
    batch: int = 32
    windows: int = 200
    """Of the test split, for the bound and the levels."""
    samples: int = 4
    """Draws of noise for each window."""

    @property
    def writing(self) -> Writing:
        """The part of it that is about writing."""
        return Writing(self.written, self.texts, self.batch)


def main(
    data: str,
    scorer: str,
    runs: Path = Path("runs/questions"),
    halves: Path = Path("runs/bounds/halves"),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 79),
    size: Size = Size(),
    compile: bool = True,
    save: Path | None = None,
) -> None:
    """Train what is missing, measure all, let all write in each number of `steps`, and print the tables."""
    judge = td.load(scorer, device="cpu", dtype="float32")
    models: dict[str, dict[int, str]] = {BUNDLED: {0: STARTER.name}}
    for seed in seeds:
        for name, folder in trained(data, runs, halves, seed, size, compile).items():
            models.setdefault(name, {})[seed] = str(folder)
    measured = {name: [told(data, runs, name, at, size) for at in of.items()] for name, of in models.items()}
    texts = {
        name: {count: [written(runs, name, at, judge, count, size) for at in of.items()] for count in steps}
        for name, of in models.items()
    }
    nats, spread = human(data, judge, STARTER.name, size.writing)
    shown = " ".join(f"--size.{name.replace('_', '-')} {value}" for name, value in size.__dict__.items())
    command = (
        f"python benchmarks/questions.py --data STORIES --scorer {Path(scorer).name} "
        f"--seeds {' '.join(map(str, seeds))} --steps {' '.join(map(str, steps))} {shown}"
    )
    text = "\n\n".join(
        [
            "# Questions of learners: one mask ratio, one shot, and from nothing",
            f"{machine()}. Command: `{command}`",
            f"Means over the seeds ({len(seeds)}) with their standard errors. Held-out text before the "
            f"judge: {nats:.3f} nats per token, entropy {spread:.2f}.",
            "## What if only half were ever hidden?",
            "Nats per token of held-out windows: the bound, and the cross-entropy of hidden tokens at each "
            "share that is hidden.",
            levels_table({name: measured[name] for name in (ANY, HALF)}),
            "## One shot or many steps?",
            "Nats per token before the judge, and the entropy of a text's tokens, by the number of steps.",
            steps_table({name: texts[name] for name in (ANY, HALF)}),
            "## From nothing or from a trained model?",
            levels_table({name: measured[name] for name in (ANY, TUNED, BUNDLED)}),
            steps_table({name: texts[name] for name in (ANY, TUNED, BUNDLED)}),
        ]
    )
    print(text)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def trained(data: str, runs: Path, halves: Path, seed: int, size: Size, compile: bool) -> dict[str, Path]:
    """The folders of one seed's models; those that are not there yet are trained."""
    shape = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))
    new = {"tokenizer": str(STARTER), "network": {key: shape[key] for key in SHAPE}}
    ways: Mapping[str, Mapping[str, Any]] = {
        ANY: new,
        HALF: {**new, **ONE_LEVEL},
        TUNED: {"model": STARTER.name, **GENTLY},
    }
    common = {
        **{**QUIET, **FLAT, "data": str(half(data, halves, 0)), "compile": compile, "length": size.length},
        **{"steps": size.steps, "batch_size": size.rows, "seed": seed},
    }
    found = {name: runs / f"{name.replace(' ', '-')}-{seed}" for name in ways}
    for name, changes in ways.items():
        train_to(found[name], {**common, **changes})
    return found


def told(data: str, runs: Path, name: str, at: tuple[int, str], size: Size) -> tuple[float, ...]:
    """The bound of a model, and its cross-entropy at each level, in nats per token."""
    (seed, model), place = at, runs / "measured"
    levels = place / f"{name.replace(' ', '-')}-{seed}-levels.json"
    whole = bound(levels.with_suffix(".bound.json"), model, data, size.windows, size.samples, size.length)
    if not levels.exists():
        found = by_level(loaded(model), data, size)
        write_whole(levels, json.dumps(found).encode())
    return (whole, *json.loads(levels.read_text(encoding="utf-8")))


@torch.inference_mode()
def by_level(lm: td.DiffusionLM, data: str, size: Size) -> list[float]:
    """Mean cross-entropy of the hidden tokens of held-out windows, for each of `LEVELS`."""
    rows = test_windows(lm, data, size.windows, size.length)
    found = []
    for level in LEVELS:
        objective = CrossEntropy(WeightedRates((level,), (1.0,)))
        nats, asked = 0.0, 0
        for number, part in enumerate(rows.split(size.batch)):
            here = torch.ones_like(part, dtype=torch.bool)
            canvas = Canvas(part, here & (torch.arange(part.shape[1]) > 0), here)
            for sample in range(size.samples):
                draws = RowGenerator.for_batch(sample, number, first=0, rows=len(part), total=len(part))
                scores = objective(lm.denoiser, lm.corruption, canvas, draws)
                nats += float(scores.cross_entropy.double().sum())
                asked += int(scores.asked.sum())
        found.append(nats / asked)
    return found


def written(
    runs: Path, name: str, at: tuple[int, str], judge: td.DiffusionLM, steps: int, size: Size
) -> list[Row]:
    """What one model writes in so many steps, an even number of tokens in each, at random places."""
    seed, model = at
    path = runs / "texts" / f"{name.replace(' ', '-')}-{seed}-{size.written}-{steps}.jsonl"
    decoding = td.Decoding(sampler="random", steps=steps, **CUT)
    return judged(path, model, judge, decoding, seed, size.writing)


def levels_table(found: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """A row for each model."""
    lines = [
        f"| | bound | {' | '.join(f'{level:.0%} hidden' for level in LEVELS)} |",
        "|---" * (2 + len(LEVELS)) + "|",
    ]
    for name, values in found.items():
        lines.append(f"| {name} | {' | '.join(over_seeds(each) for each in zip(*values, strict=True))} |")
    return "\n".join(lines)


def steps_table(found: Mapping[str, Mapping[int, Sequence[Sequence[Row]]]]) -> str:
    """A row for each number of steps."""
    lines = [
        f"| steps | {' | '.join(f'{name}: nats | entropy' for name in found)} |",
        "|---" * (1 + 2 * len(found)) + "|",
    ]
    for count in next(iter(found.values())):
        cells = [
            f"{over_seeds([per_token(rows) for rows in of[count]])} | "
            f"{fmean(entropy(rows) for rows in of[count]):.2f}"
            for of in found.values()
        ]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
