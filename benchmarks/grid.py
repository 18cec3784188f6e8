"""Where should the blocks of a text begin: at its first token, as in training, or behind its prompt?

The bound of the same continuations on both grids, prompts of lengths that are no multiple of the block.

python benchmarks/grid.py --data STORIES --models runs/block --save docs/results/grid.md
"""

import math
from pathlib import Path

import torch
import tyro
from bounds import test_windows
from timing import machine
from torch import Tensor

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.objectives import BlockNelbo
from textdiffusion.randomness import RowGenerator


def main(
    data: str,
    models: tuple[str, ...],
    prompts: tuple[int, ...] = (5, 20, 43, 62),
    windows: int = 100,
    samples: int = 8,
    save: Path | None = None,
) -> None:
    """Compare on windows of the test split; both grids see the same texts."""
    lines = [
        "| model | prompt | from the first token | from the end of the prompt | difference |",
        "|---|---|---|---|---|",
    ]
    for name in models:
        lm = td.load(name, device="cpu", dtype="float32")
        size = lm.denoiser.block_size
        if size is None:
            raise SystemExit(f"{name} was not trained in blocks.")
        tokens = test_windows(lm, data, windows)
        for prompt in prompts:
            own, moved = (_nats(lm, tokens, prompt, pad, size, samples) for pad in (0, -prompt % size))
            more = moved - own
            lines.append(
                f"| {Path(name).name} | {prompt} | {own.mean():.3f} | {moved.mean():.3f} "
                f"| {more.mean():+.3f} ± {more.std() / math.sqrt(len(more)):.3f} |"
            )
            print(lines[-1], flush=True)
    command = (
        f"python benchmarks/grid.py --data STORIES --models {' '.join(Path(name).name for name in models)} "
        f"--prompts {' '.join(map(str, prompts))} --windows {windows} --samples {samples}"
    )
    title = "# Where the grid of blocks begins: nats per token of the continuation"
    text = "\n\n".join([title, f"{machine()}. Command: `{command}`", "\n".join(lines)]) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


@torch.inference_mode()
def _nats(lm: td.DiffusionLM, tokens: Tensor, prompt: int, pad: int, size: int, samples: int) -> Tensor:
    """The bound of each text behind its prompt; padding on the left moves the grid, and is seen by nobody."""
    filler = tokens.new_full((len(tokens), pad), lm.format.pad_id)
    moved = torch.cat([filler, tokens], dim=1)
    place = torch.arange(moved.shape[1]).expand_as(moved)
    canvas = Canvas(moved, place >= pad + prompt, place >= pad)
    total = torch.zeros(len(tokens), dtype=torch.float64)
    for sample in range(samples):
        draws = RowGenerator.for_batch(sample, 0, first=0, rows=len(tokens), total=len(tokens))
        total += BlockNelbo(size)(lm.denoiser, lm.corruption, canvas, draws).nats.sum(1).double()
    return total / samples / (tokens.shape[1] - prompt)


if __name__ == "__main__":
    tyro.cli(main)
