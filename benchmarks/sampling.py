"""Wall-clock of our sampling loop against the loops of earlier systems, on the same weights and steps.

python benchmarks/sampling.py --size base --rounds 5 --save docs/results/sampling-base.md
"""

from pathlib import Path

import torch
import tyro
from peers import confidence_loop, filtered_loop
from shapes import MASK_ID, network
from timing import machine, table, take_turns

import textdiffusion as td
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser


def main(
    size: str = "base", rounds: int = 5, steps: int = 10, seed: int = 0, save: Path | None = None
) -> None:
    """Race on 256 tokens: 16 of prompt, 240 new."""
    model = network(size, seed=seed).eval()
    prompt = torch.randint(5, 8192, (1, 16), generator=torch.Generator().manual_seed(seed))
    tokens = torch.cat([prompt, torch.full((1, 240), MASK_ID)], dim=1)
    denoiser = MaskedLMDenoiser.of(model)

    def ours(sampler: str, **options: float) -> object:
        draws = torch.Generator().manual_seed(seed)
        return td.sample(
            denoiser, tokens, mask_id=MASK_ID, sampler=sampler, steps=steps, generator=draws, **options
        )

    contestants = {
        "earlier: confidence loop (001, 2025-11)": lambda: confidence_loop(model, tokens, MASK_ID, steps),
        "earlier: per-position filter (000 and 001, 2025-06)": lambda: filtered_loop(
            model, tokens, MASK_ID, steps, torch.Generator().manual_seed(seed)
        ),
        "ours: ancestral": lambda: ours("ancestral"),
        "ours: ancestral, top-k 50, top-p 0.95": lambda: ours("ancestral", top_k=50, top_p=0.95),
        "ours: confidence, greedy": lambda: ours("confidence", temperature=0.0),
        "ours: full-remask, top-k 50, top-p 0.95 (the rule of 000)": lambda: ours("full-remask"),
    }
    costs = take_turns(contestants, rounds, 240)
    parts = [
        f"# Sampling, {size}: {steps} steps, 240 new tokens after 16, batch 1, float32",
        f"{machine()}; {rounds} rounds in turn after a warm-up, seed {seed}.",
        f"Command: `python benchmarks/sampling.py --size {size} --rounds {rounds} "
        f"--steps {steps} --seed {seed}`",
        "Speed relative to the confidence loop:",
        table(costs, "earlier: confidence loop (001, 2025-11)", "tokens"),
        "Speed relative to the per-position filter:",
        table(costs, "earlier: per-position filter (000 and 001, 2025-06)", "tokens"),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
