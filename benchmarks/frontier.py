"""Quality against network calls and against seconds, for all samplers, before a judge that shares no text.

The models are those of one seed of bounds.py, all trained on one half of the training text. The judge is an
autoregressive model of twice their size, trained on the other half. Prompts are beginnings of windows of the
test split. What was measured is kept in `--runs` and not measured again.

python benchmarks/frontier.py --data STORIES --save docs/results/frontier.md
"""

import json
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import tyro
from bounds import AUTOREGRESSIVE, NEXT_TOKEN, QUIET, nats, test_windows, tokenizer_of, train_to, trained
from halves import half
from plots import Point, scatter
from timing import machine
from torch import Tensor

import textdiffusion as td
from textdiffusion.canvas import Canvas
from textdiffusion.generation import denoise
from textdiffusion.randomness import RowGenerator

GIVEN, LOSS, DRIFT = 16, 0.05, 0.05
JUDGE = {"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5, "intermediate_size": 880}
REFERENCE, FIGURE = "first-hitting", "frontier.png"
FILTER = {"temperature": 1.0, "top_k": 0, "top_p": 0.9}
"""The same for all, so that they differ in the sampler alone."""


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


@torch.inference_mode()
def write(
    lm: td.DiffusionLM, windows: Tensor, options: Mapping[str, Any], batch: int, seed: int
) -> tuple[Tensor, float, float]:
    """The windows continued from their first tokens; calls and seconds for a text."""
    decoding = td.Decoding().changed({**FILTER, **options})
    editable = torch.zeros_like(windows, dtype=torch.bool)
    editable[:, GIVEN:] = True
    written, seconds = [], 0.0
    with _counted(lm.model) as rows:
        for first in range(0, len(windows), batch):
            part = slice(first, first + batch)
            canvas = Canvas(windows[part], editable[part], torch.ones_like(editable[part]))
            keys = RowGenerator.for_rows(
                range(seed * 10_000 + first, seed * 10_000 + first + len(windows[part]))
            )
            begin = time.perf_counter()
            banned = lm.format.banned(lm.vocab_size, learns_end=True)
            frames = denoise(lm.denoiser, lm.corruption, canvas, decoding, keys, banned=banned)
            (last,) = deque(frames, maxlen=1)
            seconds += time.perf_counter() - begin
            written.append(last.tokens)
    return torch.cat(written), sum(rows) / len(windows), seconds / len(windows)


@contextmanager
def _counted(model: torch.nn.Module) -> Iterator[list[int]]:
    """How many texts each call of the network reads; texts that are done are left out of it."""
    rows: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda module, args, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    try:
        yield rows
    finally:
        handle.remove()


def judged(judge: td.DiffusionLM, texts: Tensor) -> tuple[float, float, float]:
    """Nats per written token with the standard error, and the entropy of the tokens of a text."""
    scored = torch.zeros_like(texts, dtype=torch.bool)
    scored[:, GIVEN:] = True
    per_text = nats(judge, texts, scored) / (texts.shape[1] - GIVEN)
    return (
        float(per_text.mean()),
        float(per_text.std() / math.sqrt(len(per_text))),
        sum(entropy(row) for row in texts[:, GIVEN:]) / len(texts),
    )


def entropy(tokens: Tensor) -> float:
    """Of the tokens of one text, in nats."""
    share = tokens.bincount().double() / len(tokens)
    return float(torch.special.entr(share).sum())


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
        scatter(points, real, save.with_name(FIGURE), fair=lambda p: _steady(p, _reference(points, p.model)))


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
