"""The bundled model against an autoregressive one of the same size, text and budget: likelihood and writing.

The baseline goes through the three recipes of the bundled model (its card names them) with `--objective
next-token` in each, from `starter-first` to `starter-last`. The scorer reads texts, so it may have another
tokenizer; frontier.py trains one. What was measured is kept in `--runs` and not measured again.

python benchmarks/stories.py --data STORIES --baseline runs/stories/autoregressive --scorer JUDGE
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro
from judged import Row, Writing, entropy, human, judged, per_token, point, seconds
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.views import frontier as drawn
from textdiffusion.views.files import write_whole

FIGURE = "stories.png"
TEXTS = Writing(length=80, texts=64, batch=64)
"""As many tokens as the judge of frontier.py can surely read in tokens of its own."""
MEASURES = {"nats_per_token": "nats per token", "bits_per_byte": "bits per byte", "perplexity": "perplexity"}
COMPARED = {key: f"{key}_{'ratio' if key == 'perplexity' else 'difference'}" for key in MEASURES}
"""The same of two models on the same texts."""
Found = Mapping[str, Mapping[int, Sequence[Sequence[Row]]]]
"""Texts of each seed, by who wrote them how, and by planned calls."""


@dataclass(frozen=True)
class Way:
    """Who writes, and how."""

    model: str
    who: str
    sampler: str
    steps: int
    top_p: float

    @property
    def decoding(self) -> td.Decoding:
        """As settings of a generation."""
        return td.Decoding().changed(
            {"sampler": self.sampler, "steps": self.steps, "temperature": 1.0, "top_p": self.top_p}
        )


def main(
    data: str,
    baseline: str,
    scorer: str,
    model: str = "starter",
    runs: Path = Path("runs/stories-measured"),
    seeds: tuple[int, ...] = (0, 1, 2),
    calls: tuple[int, ...] = (5, 10, 20, 40, 79),
    samplers: tuple[str, ...] = ("ancestral", "random", "remdm-loop"),
    top_p: float = 0.9,
    limit: int = 400,
    writing: Writing = TEXTS,
    save: Path | None = None,
) -> None:
    """Measure what is missing, and print the tables."""
    rows = likelihoods(runs / f"likelihood-{limit}.jsonl", model, baseline, data, limit)
    judge = td.load(scorer, device="cpu", dtype="float32")
    found: dict[str, dict[int, list[list[Row]]]] = {}
    ways = [Way(model, f"diffusion, {one}", one, steps, top_p) for one in samplers for steps in calls]
    ways.append(Way(baseline, "autoregressive", "autoregressive", writing.length - 1, top_p))
    for way, spent in zip(ways, timed(runs / "seconds.json", ways, writing.length), strict=True):
        name = f"{way.sampler}-{way.steps}-%s-{writing.length}-{writing.texts}-{top_p}.jsonl"
        for seed in seeds:
            texts = judged(runs / "texts" / (name % seed), way.model, judge, way.decoding, seed, writing)
            texts = [{**row, "seconds": spent} for row in texts]
            found.setdefault(way.who, {}).setdefault(way.steps, []).append(texts)
    people = human(data, judge, model, writing)
    command = (
        f"python benchmarks/stories.py --data STORIES --baseline {baseline} --scorer {scorer} "
        f"--seeds {' '.join(map(str, seeds))} --limit {limit} --writing.texts {writing.texts}"
    )
    text = "\n\n".join(
        [
            "# The bundled model against an autoregressive one",
            f"{machine()}. Command: `{command}`.",
            "## Likelihood",
            likelihoods_told(rows),
            "## Writing",
            f"{writing.texts} texts of {writing.length} tokens from nothing by each of the seeds, the most "
            f"probable tokens that reach {top_p} being kept; ± is the standard error over the seeds of the "
            "drawing, the models being one of each. What people wrote has "
            f"{people[0]:.3f} nats per token before the judge, and its tokens an entropy of {people[1]:.2f}. "
            "Milliseconds are those of one text, written alone.",
            written_told(found),
            f"![The curves]({FIGURE})",
        ]
    )
    print(text)
    if save is not None:
        write_whole(save, (text + "\n").encode())
        points = [point(who, steps, texts) for who, by in found.items() for steps, texts in by.items()]
        norm = drawn.Norm(people[0], entropy=people[1])
        drawn.save_frontier(save.with_name(FIGURE), points, norm, "nats per token before the judge")


def timed(path: Path, ways: Sequence[Way], length: int) -> list[float]:
    """Seconds for a text of each way: the middle of three rounds in turn, after one to warm up.

    Taken apart from the writing, which may go on for long beside other work.
    """
    if not path.exists():
        rounds = [[seconds(way.model, way.decoding, length, turn) for way in ways] for turn in range(4)]
        write_whole(path, json.dumps([median(each) for each in zip(*rounds[1:], strict=True)]).encode())
    found: list[float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def likelihoods(path: Path, model: str, baseline: str, data: str, limit: int) -> list[dict[str, Any]]:
    """What `evaluate likelihood` says of both models and of their difference."""
    if not path.exists():
        flags = ["--model", model, "--baseline", baseline, "--data", data, "--limit", str(limit), "--json"]
        command = [sys.executable, "-m", "textdiffusion", "evaluate", "likelihood", *flags]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, told.stdout)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def likelihoods_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each model, and one for the difference on the same texts."""
    names = ["diffusion, a bound", "autoregressive, exact", "diffusion less (perplexity: by) autoregressive"]
    lines = [f"| | {' | '.join(MEASURES.values())} |", f"|---|{'---|' * len(MEASURES)}"]
    for name, row in zip(names, rows, strict=True):
        keys = [key if key in row else COMPARED[key] for key in MEASURES]
        cells = [f"{row[key]:.3f} ({row[f'{key}_low']:.3f} to {row[f'{key}_high']:.3f})" for key in keys]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def written_told(found: Found) -> str:
    """A line for each way of writing and number of steps."""
    lines = ["| | steps | calls | nats per token | entropy | ms |", "|---|---|---|---|---|---|"]
    for who, by_steps in found.items():
        for steps, texts in by_steps.items():
            rows = [row for each in texts for row in each]
            cost, spent = (sum(row[key] for row in rows) / len(rows) for key in ("calls", "seconds"))
            nats = over_seeds([per_token(each) for each in texts], 3)
            lines.append(
                f"| {who} | {steps} | {cost:.0f} | {nats} | {entropy(rows):.2f} | {1000 * spent:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
