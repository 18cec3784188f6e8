"""Quality against network calls and against seconds, for all samplers, before a judge that shares no text.

The models are those of one seed of bounds.py, all trained on one half of the training text. The judge is an
autoregressive model of twice their size, trained on the other half. Prompts are beginnings of windows of the
test split. What was measured is kept in `--runs` and not measured again.

python benchmarks/frontier.py --data STORIES --save docs/results/frontier.md
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from bounds import AUTOREGRESSIVE, NEXT_TOKEN, QUIET, nats, test_windows, tokenizer_of, train_to, trained
from halves import half
from timing import machine
from torch import Tensor

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.evaluation.quality.judging import pareto
from textdiffusion.evaluation.quality.writing import Desk
from textdiffusion.evaluation.variety import token_entropy
from textdiffusion.views import frontier as drawn

GIVEN, LOSS, DRIFT = 16, 0.05, 0.05
JUDGE = {"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5, "intermediate_size": 880}
REFERENCE, FIGURE = "first-hitting", "frontier.png"
FILTER = {"temperature": 1.0, "top_k": 0, "top_p": 0.9}
"""The same for all, so that they differ in the sampler alone."""


@dataclass(frozen=True)
class Point:
    """What one setting of one model reached."""

    model: str
    setting: str
    calls: float
    """Network calls for a text."""
    seconds: float
    """For a text, all texts of a batch written at once."""
    nll: float
    """Nats per token before the judge, given all tokens before it."""
    error: float
    """Its standard error over the texts."""
    entropy: float
    """Of the tokens of a text, in nats; the mean over the texts."""


def main(
    data: str,
    runs: Path = Path("runs/bounds"),
    seed: int = 0,
    steps: int = 1000,
    more: int = 800,
    texts: int = 48,
    batch: int = 48,
    top_p: float = FILTER["top_p"],
    save: Path | None = None,
) -> None:
    """Train what is missing (see bounds.py), let every setting write, and let the judge read."""
    models = trained(data, runs, seed, steps, more)
    judge = td.load(str(_judge(data, runs, steps + more)), device="cpu", dtype="float32")
    windows = test_windows(judge, data, texts)
    kept = runs / f"frontier-{seed}-{texts}-{top_p}.jsonl"
    points = {(p.model, p.setting): p for p in _known(kept)}
    for name, folder in models.items():
        lm = td.load(str(folder), device="cpu", dtype="float32")
        for setting, options in _settings(name, windows.shape[1] - GIVEN).items():
            if (name, setting) in points:
                continue
            written, calls, seconds = write(lm, windows, {**options, "top_p": top_p}, batch, seed)
            point = Point(name, setting, calls, seconds, *judged(judge, written))
            points[name, setting] = point
            with kept.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(point)) + "\n")
            print(point, flush=True)
    real = Point("the text itself", "", 0.0, 0.0, *judged(judge, windows))
    command = (
        f"python benchmarks/frontier.py --data STORIES --seed {seed} --texts {texts} --batch {batch} "
        f"--top-p {top_p}"
    )
    _tell(list(points.values()), real, command, texts, save)


def judge_of(runs: Path) -> Path:
    """The folder of the judge."""
    return runs / "judge"


def _judge(data: str, runs: Path, steps: int) -> Path:
    changes = {"data": str(half(data, runs / "halves", 1)), "network": JUDGE, "steps": steps, "seed": 7}
    train_to(judge_of(runs), {**changes, **NEXT_TOKEN, **QUIET, **tokenizer_of(runs)})
    return judge_of(runs)


def _settings(model: str, room: int) -> dict[str, dict[str, Any]]:
    """What is tried with a model; the whole table with the masked one, what may be fast with the others."""
    if model == AUTOREGRESSIVE:
        return {"autoregressive": {"sampler": "autoregressive"}}
    by_steps = dict.fromkeys(("random", "ancestral", "confidence", "entropy"), (2, 4, 8))
    own: dict[str, list[dict[str, Any]]] = {
        "entropy-bounded": [{"gamma": gamma} for gamma in (0.1, 0.5, 2.0, 8.0)],
        "threshold": [{"threshold": share} for share in (0.9, 0.6, 0.3)],
        "factor": [{"factor": factor} for factor in (1.0, 3.0)],
    }
    if model == "masked":
        rest = ("full-remask", "guide", "refine", "remdm-cap", "remdm-rescale", "remdm-conf", "remdm-loop")
        by_steps |= dict.fromkeys(("margin", "left-first"), (2, 4, 8))
        by_steps |= dict.fromkeys(("adaptive", *rest), (2, 8))
        own |= {"single-best": [{}], "edit": [{}], "confidence-remask": [{}]}
    found: dict[str, dict[str, Any]] = {REFERENCE: {"sampler": REFERENCE}}
    for sampler, rates in by_steps.items():
        for rate in rates:
            found[f"{sampler}, {rate} a step"] = {"sampler": sampler, "steps": room // rate}
    for sampler, choices in own.items():
        for choice in choices:
            said = "".join(f", {key} {value}" for key, value in choice.items())
            found[sampler + said] = {"sampler": sampler, **choice}
    return found


def write(
    lm: td.DiffusionLM, windows: Tensor, options: Mapping[str, Any], batch: int, seed: int
) -> tuple[Tensor, float, float]:
    """The windows continued from their first tokens; calls and seconds for a text."""
    decoding = td.Decoding().changed({**FILTER, **options})
    desk = Desk(lm, lm.format.banned(lm.vocab_size, learns_end=True))  # an end is a token like any other
    editable = torch.zeros_like(windows, dtype=torch.bool)
    editable[:, GIVEN:] = True
    written, calls, seconds = windows.clone(), 0.0, 0.0
    for first in range(0, len(windows), batch):
        part = slice(first, min(first + batch, len(windows)))
        canvas = Canvas(windows[part], editable[part], torch.ones_like(editable[part]))
        seeds = range(seed * 10_000 + part.start, seed * 10_000 + part.stop)
        piece = desk.write(canvas, decoding, seeds)
        written[part, GIVEN:] = torch.tensor(piece.ids)
        calls, seconds = calls + sum(piece.calls), seconds + piece.seconds * len(seeds)
    return written, calls / len(windows), seconds / len(windows)


def judged(judge: td.DiffusionLM, texts: Tensor) -> tuple[float, float, float]:
    """Nats per written token with the standard error, and the entropy of the tokens of a text."""
    scored = torch.zeros_like(texts, dtype=torch.bool)
    scored[:, GIVEN:] = True
    per_text = nats(judge, texts, scored) / (texts.shape[1] - GIVEN)
    return (
        float(per_text.mean()),
        float(per_text.std() / math.sqrt(len(per_text))),
        sum(token_entropy(row.tolist()) for row in texts[:, GIVEN:]) / len(texts),
    )


def _known(kept: Path) -> list[Point]:
    if not kept.exists():
        return []
    return [Point(**json.loads(line)) for line in kept.read_text(encoding="utf-8").splitlines()]


def _reference(points: list[Point], model: str) -> Point:
    """The same model at one token a step, exactly: what a fast setting must not fall behind."""
    wanted = AUTOREGRESSIVE if model == AUTOREGRESSIVE else REFERENCE
    return next(point for point in points if (point.model, point.setting) == (model, wanted))


def within(point: Point, reference: Point) -> bool:
    """Whether a setting is as good as its reference, by the limits above."""
    return point.nll <= (1.0 + LOSS) * reference.nll and _steady(point, reference)


def _steady(point: Point, reference: Point) -> bool:
    """Whether the text is as varied: what repeats itself looks likely to a judge, and is not good."""
    return abs(point.entropy - reference.entropy) <= DRIFT


def _tell(points: list[Point], real: Point, command: str, texts: int, save: Path | None) -> None:
    parts = [
        "# Quality against speed: all samplers before one judge",
        f"{machine()}. Command: `{command}`",
        f"{texts} texts, {GIVEN} tokens of each given. The text itself: {real.nll:.3f} ± {real.error:.3f} "
        f"nats per token before the judge, entropy {real.entropy:.2f}.",
        f"The fastest setting of each model that loses at most {LOSS:.0%} to one token a step "
        f"(first-hitting, which is exact) and stays within {DRIFT} nats of its entropy:",
    ]
    models = list(dict.fromkeys(point.model for point in points))
    parts += ["\n".join(_winner(points, model) for model in models), f"![The frontier]({FIGURE})"]
    parts.append("Hollow: the entropy left the limit, so that no line goes through it.")
    for model in models:
        own = sorted((p for p in points if p.model == model), key=lambda p: p.calls)
        parts += [f"## {model}", _table(own, _reference(points, model))]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")
        norm = drawn.Norm(real.nll, entropy=real.entropy)
        drawn.save_frontier(save.with_name(FIGURE), _drawn(points), norm, "nats per token before the judge")


def _drawn(points: list[Point]) -> list[drawn.Point]:
    """The points as they are drawn: a colour and a line for each model."""
    fair = [_steady(point, _reference(points, point.model)) for point in points]
    best: dict[str, set[int]] = {"calls": set(), "seconds": set()}
    for model in dict.fromkeys(point.model for point in points):
        own = [n for n, point in enumerate(points) if point.model == model and fair[n]]
        for cost, numbers in best.items():
            numbers |= {own[n] for n in pareto([(vars(points[m])[cost], points[m].nll) for m in own])}
    return [
        drawn.Point(
            p.model,
            "",
            p.calls,
            p.seconds,
            p.nll,
            p.entropy,
            fair=fair[n],
            line=p.model,
            best_by_calls=n in best["calls"],
            best_by_seconds=n in best["seconds"],
        )
        for n, p in enumerate(points)
    ]


def _winner(points: list[Point], model: str) -> str:
    """The fastest setting of a model within the limits, in one line."""
    reference = _reference(points, model)
    best = min((p for p in points if p.model == model and within(p, reference)), key=lambda p: p.seconds)
    return (
        f"- **{model}**: {best.setting}; {best.calls:.0f} calls, {1000 * best.seconds:.0f} ms a text, "
        f"{best.nll:.3f} nats per token, entropy {best.entropy:.2f}. One token a step: "
        f"{1000 * reference.seconds:.0f} ms, {reference.nll:.3f} nats, entropy {reference.entropy:.2f}."
    )


def _table(points: list[Point], reference: Point) -> str:
    lines = [
        "| | calls | ms | nats per token | against one a step | entropy | within |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in points:
        more, drift = 100.0 * (p.nll / reference.nll - 1.0), p.entropy - reference.entropy
        lines.append(
            f"| {p.setting} | {p.calls:.1f} | {1000 * p.seconds:.0f} | {p.nll:.3f} ± {p.error:.3f} "
            f"| {more:+.1f} % | {p.entropy:.2f} ({drift:+.2f}) | {'yes' if within(p, reference) else ''} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
