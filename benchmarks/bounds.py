"""Bounds of masked and of block diffusion against the exact likelihood of an autoregressive model.

Equal networks, text, steps and optimiser. For each seed an autoregressive trunk is trained at a steady rate,
and from it every contestant goes on by its own objective, with the same rows in the same order and a falling
rate. A masked model that had no such start is shown beside them. All of them read one half of the training
text, so that a judge of their samples (frontier.py) can learn the other. What is trained is kept in `--runs`
and not trained again, and what was interrupted goes on where it stopped.

python benchmarks/bounds.py --data STORIES --save docs/results/bounds.md
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from halves import half
from rich.console import Console
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.data.packing import pack_blocks
from textdiffusion.data.sources import read_documents
from textdiffusion.training import TrainingRecipe
from textdiffusion.training.recipe import read_recipe
from textdiffusion.training.resume import last_checkpoint
from textdiffusion.training.run import train

ROOT = Path(__file__).resolve().parents[1]
AUTOREGRESSIVE = "autoregressive"
SCRATCH = "masked from scratch"
NEXT_TOKEN = {"objective": "next-token"}
MASKED = {"objective": "cross-entropy"}
CLIP = {"low": 0.3, "high": 0.8}
QUIET = {
    "eval_every": 0,
    "eval_rows": 0,
    "decoding": {},
    "precision": "bf16",
    "compile": True,
    "causal_share": 0.0,
}


def branches() -> dict[str, dict[str, Any]]:
    """What goes on from the trunk: changes of the recipe `quick`."""
    blocks = {
        f"blocks of {size}": {
            "objective": "block-nelbo",
            "objective_settings": {"block_size": size, **(CLIP if size > 4 else {})},
        }
        for size in (16, 8, 4)
    }
    return {AUTOREGRESSIVE: NEXT_TOKEN, "masked": MASKED, **blocks}


def main(
    data: str,
    runs: Path = Path("runs/bounds"),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: int = 1000,
    more: int = 800,
    early: tuple[int, ...] = (),
    share: float = 1.0,
    scratch: bool = False,
    windows: int = 400,
    samples: int = 4,
    save: Path | None = None,
) -> None:
    """Train what is missing, `steps` of the trunk and `more` of each branch; measure all on the same text.

    The text is whole windows of the test split, their first token given. With a `share` of the half the rows
    are read many times; then autoregressive branches of fewer steps (`early`) show what they are best at.
    """
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, folder in trained(data, runs, seed, steps, more, early, share, scratch).items():
            found.setdefault(name, []).append(_measured(data, folder, windows, samples))
            print(name, seed, found[name][-1], flush=True)
    command = (
        f"python benchmarks/bounds.py --data STORIES --seeds {' '.join(map(str, seeds))} --steps {steps} "
        f"--more {more} --early {' '.join(map(str, early))} --share {share} --windows {windows} "
        f"--samples {samples}"
    )
    text = "\n\n".join(
        [
            "# Bounds: masked and block diffusion against autoregression",
            f"{machine()}. Command: `{command}`",
            _table(found),
        ]
    )
    print(text)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def trained(
    data: str,
    runs: Path,
    seed: int,
    steps: int,
    more: int,
    early: Sequence[int] = (),
    share: float = 1.0,
    scratch: bool = False,
) -> dict[str, Path]:
    """The folders of the contestants of one seed; those that are not there yet are trained."""
    shared = {**QUIET, "data": str(half(data, runs / "halves", 0, share))}
    trunk = runs / f"trunk-{seed}"
    steady = {"steps": steps, "decay": "constant_with_warmup", "seed": seed}
    train_to(trunk, {**shared, **NEXT_TOKEN, **tokenizer_of(runs), **steady})
    if not tokenizer_of(runs):
        td.load(str(trunk), device="cpu").format.tokenizer.save_pretrained(runs / "tokenizer")
    found = {}
    shorter = {f"{AUTOREGRESSIVE}, {steps + fewer} steps": (NEXT_TOKEN, fewer) for fewer in early}
    for name, (changes, count) in {**{k: (v, more) for k, v in branches().items()}, **shorter}.items():
        found[name] = runs / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
        # Rows in another order than the trunk's, the same for all.
        train_to(found[name], {**shared, **changes, "model": str(trunk), "steps": count, "seed": seed + 1000})
    if scratch:
        found[SCRATCH] = runs / f"scratch-{seed}"
        train_to(
            found[SCRATCH], {**shared, **MASKED, **tokenizer_of(runs), "steps": steps + more, "seed": seed}
        )
    return found


def tokenizer_of(runs: Path) -> dict[str, str]:
    """The setting that names the common tokenizer, once there is one."""
    folder = runs / "tokenizer"
    return {"tokenizer": str(folder)} if folder.exists() else {}


def train_to(folder: Path, changes: Mapping[str, Any], base: str = "quick") -> None:
    """A model by a recipe of ours with these changes, unless it is there."""
    if (folder / "diffusion.json").exists():
        return
    recipe: TrainingRecipe = read_recipe(
        ROOT / "recipes" / f"{base}.yaml", {**changes, "output": str(folder)}
    )
    resume = last_checkpoint(folder / "checkpoints") is not None
    train(recipe, resume=resume, console=Console(stderr=True))


def _measured(data: str, folder: Path, windows: int, samples: int) -> float:
    lm = td.load(str(folder), device="cpu", dtype="float32")
    return nats_per_token(lm, test_windows(lm, data, windows), samples)


def nats_per_token(lm: td.DiffusionLM, tokens: torch.Tensor, samples: int) -> float:
    """The mean over the windows, their first token given."""
    scored = torch.ones_like(tokens, dtype=torch.bool)
    scored[:, 0] = False
    return float(nats(lm, tokens, scored, samples).sum()) / int(scored.sum())


def nats(lm: td.DiffusionLM, tokens: torch.Tensor, scored: torch.Tensor, samples: int = 1) -> torch.Tensor:
    """The bound of each text, or its exact likelihood where the network has one."""
    return torch.cat(
        [
            td.nelbo(
                lm.denoiser,
                part,
                mask_id=lm.format.mask_id,
                samples=1 if lm.denoiser.next_token else samples,
                editable=here,
                generator=torch.Generator().manual_seed(0),
            ).mean
            for part, here in zip(tokens.split(16), scored.split(16), strict=True)
        ]
    )


def test_windows(lm: td.DiffusionLM, data: str, count: int, length: int | None = None) -> torch.Tensor:
    """Windows of the test split, evenly spread, of what the model holds or `length`: ids [count, length]."""
    texts, length = list(read_documents(data, split="test")), length or lm.longest
    rows = [row for row in pack_blocks(lm.format.document(texts), length) if len(row) == length]
    step = max(1, len(rows) // count)
    return torch.tensor(rows[::step][:count])


def _table(found: Mapping[str, Sequence[float]]) -> str:
    """Means over the seeds; gaps to the autoregressive model of equal steps, and to the best one."""
    lines = ["| | nats per token | by seed | gap at equal steps | gap to the best |", "|---|---|---|---|---|"]
    equal = found[AUTOREGRESSIVE]
    best = [
        min(each) for each in zip(*(v for k, v in found.items() if k.startswith(AUTOREGRESSIVE)), strict=True)
    ]
    for name, values in found.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        lines.append(
            f"| {name} | {over_seeds(values, 3)} | {shown} | {_gap(values, equal)} | {_gap(values, best)} |"
        )
    return "\n".join(lines)


def _gap(values: Sequence[float], base: Sequence[float]) -> str:
    return f"{over_seeds([100 * (own / other - 1.0) for own, other in zip(values, base, strict=True)], 1)} %"


if __name__ == "__main__":
    tyro.cli(main)
