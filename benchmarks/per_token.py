"""Noise and weights that hang on the token, against plain linear noise at equal compute.

Equal networks, text, steps and optimiser; each begins with next tokens and goes on by its own objective, with
the same rows in the same order. Spindle noise is told the time, which its best answer hangs on; the others
have no use for it. CART is no bound, so it stands beside the flat loss, which is none either. All read one
half of the training text, as in bounds.py. What is trained is kept in `--runs` and not trained again, and
what was interrupted goes on where it stopped.

python benchmarks/per_token.py --data STORIES --save docs/results/per-token.md
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from bounds import QUIET, nats_per_token, test_windows, tokenizer_of, train_to
from halves import half
from judged import bound, loaded
from seeds import over_seeds
from timing import machine

CONTESTANTS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"objective": "nelbo"},
    "spindle": {
        "objective": "nelbo",
        "noise": "spindle",
        "noise_settings": {"strength": 0.3},
        "time_conditioning": True,
    },
    "flat": {"objective": "cross-entropy"},
    "cart": {"objective": "cart", "objective_settings": {"nearness": 0.3}},
}
"""Changes of the recipe `quick`."""


def main(
    data: str,
    runs: Path = Path("runs/per-token"),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: int = 1000,
    causal_share: float = 0.5,
    windows: int = 400,
    samples: int = 8,
    compile: bool = True,
    save: Path | None = None,
) -> None:
    """Train what is missing and measure all on the same whole windows of the test split.

    A network is measured by the bound of its own noise, and by that of plain masks, for which spindle noise
    did not train it: what it would be worth to samplers that take all tokens alike.
    """
    shared = {**QUIET, "data": str(half(data, runs / "halves", 0)), "compile": compile, "steps": steps}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for seed in seeds:
        for name, changes in CONTESTANTS.items():
            folder = runs / f"{name}-{seed}"
            own = {**changes, "causal_share": causal_share, "seed": seed}
            train_to(folder, {**shared, **tokenizer_of(runs), **own})
            if not tokenizer_of(runs):
                loaded(str(folder)).format.tokenizer.save_pretrained(runs / "tokenizer")
            found[name].append(measured(runs, folder, data, windows, samples))
            print(name, seed, found[name][-1], flush=True)
    command = (
        f"python benchmarks/per_token.py --data STORIES --seeds {' '.join(map(str, seeds))} --steps {steps} "
        f"--causal-share {causal_share} --windows {windows} --samples {samples}"
    )
    text = "\n\n".join(
        [
            "# Noise and weights by token, against plain linear noise",
            f"{machine()}. Command: `{command}`",
            table(found),
        ]
    )
    print(text)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def measured(runs: Path, folder: Path, data: str, windows: int, samples: int) -> tuple[float, float]:
    """Nats per token by the bound of the model's own noise, and by that of plain masks."""
    own = bound(
        runs / "bounds" / f"{folder.name}-{windows}-{samples}.json", str(folder), data, windows, samples
    )
    lm = loaded(str(folder))
    if lm.corruption.countable:
        return own, own
    return own, nats_per_token(lm, test_windows(lm, data, windows), samples)


def table(found: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Means over the seeds with their standard errors, and the differences to linear seed by seed."""
    lines = [
        "| | its own bound, nats per token | by seed | more than linear | bound under plain masks |",
        "|---|---|---|---|---|",
    ]
    for name, values in found.items():
        own, plain = zip(*values, strict=True)
        more = [value - base for value, (base, _) in zip(own, found["linear"], strict=True)]
        shown = ", ".join(f"{value:.3f}" for value in own)
        lines.append(f"| {name} | {over_seeds(own)} | {shown} | {over_seeds(more)} | {over_seeds(plain)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
