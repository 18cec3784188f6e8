"""What int8 weights cost in quality: divergence from float32 on the same noisy text, and the bound of both.

python benchmarks/rounding.py --data STORIES --models starter runs/block --save docs/results/rounding.md
"""

from pathlib import Path

import torch
import tyro
from bounds import nats_per_token, test_windows
from timing import machine
from torch import Tensor

import textdiffusion as td
from textdiffusion.randomness import RowGenerator, random_subset


def main(
    data: str, models: tuple[str, ...] = ("starter",), windows: int = 50, save: Path | None = None
) -> None:
    """Compare on windows of the test split."""
    lines = [
        "| model | divergence, nats per token | bound, float32 | bound, int8 | change |",
        "|---|---|---|---|---|",
    ]
    for name in models:
        exact, rounded = (td.load(name, device="cpu", dtype=dtype) for dtype in ("float32", "int8"))
        tokens = test_windows(exact, data, windows)
        kl = divergence(exact, rounded, tokens)
        bound, other = (nats_per_token(lm, tokens, samples=4) for lm in (exact, rounded))
        change = 100.0 * (other / bound - 1.0)
        lines.append(f"| {Path(name).name} | {kl:.4f} | {bound:.4f} | {other:.4f} | {change:+.2f} % |")
        print(lines[-1], flush=True)
    command = f"python benchmarks/rounding.py --data STORIES --models {' '.join(models)} --windows {windows}"
    parts = ["# int8 weights against float32", f"{machine()}. Command: `{command}`", "\n".join(lines)]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


@torch.inference_mode()
def divergence(exact: td.DiffusionLM, rounded: td.DiffusionLM, tokens: Tensor) -> float:
    """KL(float32 || int8) at masked places, mean over all mask rates."""
    draws = RowGenerator.for_batch(0, 0, first=0, rows=len(tokens), total=len(tokens))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    counts = (draws.stratified() * tokens.shape[1]).long() + 1
    hidden = random_subset(everywhere, counts, draws.uniform(tokens.shape[1], draw=1))
    xt = tokens.masked_fill(hidden, exact.format.mask_id)
    total = 0.0
    for part, here in zip(xt.split(10), hidden.split(10), strict=True):
        t = torch.zeros(len(part), 1)
        p, q = (lm.denoiser(part, t, where=here).double().log_softmax(-1) for lm in (exact, rounded))
        total += float((p.exp() * (p - q)).sum())
    return total / int(hidden.sum())


if __name__ == "__main__":
    tyro.cli(main)
