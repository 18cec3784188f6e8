"""What a distilled model is worth at few network calls: teachers and their students before one judge.

A masked model is distilled by SDTT, one of uniform noise by DCD, each once for every seed. The masked teacher
is the bundled model unless another is named; the uniform one is a folder, or is trained from the masked
teacher's weights. Texts are written from nothing, at temperature 1 and without cuts, with the same seeds by
teacher and student; the judge is any model that shares no training text with them, such as that of
frontier.py. What is trained, written and judged is kept in `--runs` and not done again, and a training that
was interrupted goes on where it stopped.

python benchmarks/distillation.py --data STORIES --scorer JUDGE --save docs/results/distillation.md
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import tyro
from bounds import train_to
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.data.packing import pack_blocks
from textdiffusion.data.sources import read_documents
from textdiffusion.evaluation.likelihood import Bound, Passage, score
from textdiffusion.evaluation.quality import Scorer
from textdiffusion.evaluation.quality.study import desk_of, room_behind
from textdiffusion.evaluation.quality.texts import behind_prompts, held_out
from textdiffusion.evaluation.quality.writing import even_parts
from textdiffusion.evaluation.variety import token_entropy
from textdiffusion.views import frontier as drawn
from textdiffusion.views.files import write_whole

FIGURE = "distillation.png"
UNCUT = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
TEACHER, STUDENT = "teacher", "student"
Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A way to distil."""

    recipe: str
    sampler: str
    """What both teacher and student write by."""
    method: str


KINDS: Mapping[str, Kind] = {
    "masked": Kind("distil-masked", "ancestral", "SDTT"),
    "uniform": Kind("distil-uniform", "greedy-tail", "DCD"),
}


@dataclass(frozen=True)
class Size:
    """How much is trained, written and measured."""

    length: int = 128
    """Tokens of a row of the training, of a text, and of a window that is measured."""
    texts: int = 128
    """Texts for each model, number of calls and seed."""
    batch: int = 32
    round_steps: int = 400
    """Optimiser steps of a round."""
    rounds: int = 5
    sampling_steps: int = 128
    """Steps in which the first teacher would write a text."""
    rows: int = 16
    """Rows of an optimiser step."""
    learning_rate: float = 3e-4
    windows: int = 200
    """Of the test split, for the bound."""
    samples: int = 8
    """Draws of noise for each window."""


def main(
    data: str,
    scorer: str,
    model: str = "starter",
    uniform: str = "",
    uniform_steps: int = 0,
    runs: Path = Path("runs/distillation"),
    seeds: tuple[int, ...] = (0, 1, 2),
    calls: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128),
    divergence: str = "",
    size: Size = Size(),
    compile: bool = False,
    save: Path | None = None,
) -> None:
    """Distil what is missing, let all write, and print the tables.

    `uniform` is the folder of a model of uniform noise; without one, `uniform_steps` make one of the masked
    teacher's weights, and 0 of them leave that half out. `divergence` takes the place of the objectives' own.
    """
    teachers = {"masked": model}
    if uniform or uniform_steps:
        teachers["uniform"] = uniform or str(
            _trained_uniform(data, runs, model, uniform_steps, size, compile)
        )
    judge = td.load(scorer, device="cpu", dtype="float32")
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
    parts, points = [], list[drawn.Point]()
    for kind, teacher in teachers.items():
        students = {
            seed: distilled(data, runs, kind, teacher, seed, divergence, size, compile) for seed in seeds
        }
        found = {
            TEACHER: {seed: judged(runs, kind, TEACHER, teacher, judge, seed, calls, size) for seed in seeds},
            STUDENT: {
                seed: judged(runs, kind, STUDENT, str(folder), judge, seed, calls, size)
                for seed, folder in students.items()
            },
        }
        bounds = {
            TEACHER: [bound(data, runs, kind, TEACHER, teacher, size)],
            STUDENT: [
                bound(data, runs, kind, f"{STUDENT}-{seed}", str(folder), size)
                for seed, folder in students.items()
            ],
        }
        parts += [f"## {KINDS[kind].method}: {kind} noise", _bounds_told(bounds), table(found, calls)]
        points += list(drawn_points(kind, found, calls))
    human = _human(data, judge, model, size)
    shown = " ".join(f"--size.{name.replace('_', '-')} {value}" for name, value in size.__dict__.items())
    command = (
        f"python benchmarks/distillation.py --data STORIES --scorer {Path(scorer).name} --model "
        f"{Path(model).name} --uniform-steps {uniform_steps} --seeds {' '.join(map(str, seeds))} --calls "
        f"{' '.join(map(str, calls))} {shown}{f' --divergence {divergence}' if divergence else ''}"
    )
    text = "\n\n".join(["# Fewer steps by distillation", *_about(command, human, judge, size), *parts])
    print(text)
    if save is not None:
        write_whole(save, (text + "\n").encode())
        norm = drawn.Norm(human[0], entropy=human[1])
        drawn.save_frontier(save.with_name(FIGURE), points, norm, "nats per token before the judge")


# -- training --------------------------------------------------------------------------------------------


def distilled(
    data: str,
    runs: Path,
    kind: str,
    teacher: str,
    seed: int,
    divergence: str,
    size: Size,
    compile: bool,
) -> Path:
    """The student of a seed, trained unless it is there."""
    own = KINDS[kind]
    settings = {"round_steps": size.round_steps, "sampling_steps": size.sampling_steps}
    known = td.load(teacher, device="cpu").settings
    changes = {
        **{"data": data, "model": teacher, "seed": seed, "length": size.length, "compile": compile},
        **{"steps": size.rounds * size.round_steps, "batch_size": size.rows, "eval_every": 0, "eval_rows": 0},
        "learning_rate": size.learning_rate,
        "objective_settings": {**settings, **({"divergence": divergence} if divergence else {})},
        "noise_schedule": known.noise_schedule,
        "noise_schedule_settings": known.noise_schedule_settings,
    }
    folder = runs / f"{kind}-{divergence or 'own'}-{seed}"
    train_to(folder, changes, own.recipe)
    return folder


def _trained_uniform(data: str, runs: Path, model: str, steps: int, size: Size, compile: bool) -> Path:
    """A model of uniform noise from the weights of a masked one."""
    changes = {
        **{"data": data, "model": model, "network": {}, "causal_share": 0.0, "time_conditioning": True},
        **{"steps": steps, "length": size.length, "batch_size": size.rows, "compile": compile},
        **{"eval_every": 0, "eval_rows": 0},
    }
    train_to(runs / "uniform-teacher", changes, "uniform")
    return runs / "uniform-teacher"


# -- writing and judging ---------------------------------------------------------------------------------


def judged(
    runs: Path,
    kind: str,
    who: str,
    folder: str,
    judge: td.DiffusionLM,
    seed: int,
    calls: Sequence[int],
    size: Size,
) -> dict[int, list[Row]]:
    """The texts of a model by the calls that they were allowed, each with what the judge says of it."""
    place = runs / "texts" / f"{kind}-{who}-{seed}-{size.length}-{size.texts}"
    lm: td.DiffusionLM | None = None
    found = {}
    for steps in calls:
        path = place / f"{steps}.jsonl"
        if not path.exists():
            lm = lm or td.load(folder, device="cpu", dtype="float32")
            rows = list(written(lm, judge, KINDS[kind].sampler, steps, seed, size))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "\n".join(map(json.dumps, rows)).encode())
        found[steps] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        print(kind, who, seed, steps, f"{per_token(found[steps]):.3f}", flush=True)
    return found


def written(
    lm: td.DiffusionLM, judge: td.DiffusionLM, sampler: str, steps: int, seed: int, size: Size
) -> Iterator[Row]:
    """Texts of full length from nothing, each by its own seed."""
    decoding = td.Decoding().changed({**UNCUT, "sampler": sampler, "steps": steps})
    desk, reader, prompt = desk_of(lm, ends=False), Scorer.of(judge, lm), lm.format.prompt("")
    for part in even_parts(size.texts, size.batch):
        given = [prompt] * len(part)
        piece = desk.write(
            room_behind(lm, given, size.length - len(prompt)),
            decoding,
            [seed * 100_000 + number for number in part],
        )
        texts = behind_prompts(lm.format, given, piece.ids)
        for ids, cost, (nats, tokens, _), text in zip(
            piece.ids, piece.calls, reader.nats(texts), texts.texts, strict=True
        ):
            yield {
                **{"nats": nats, "tokens": tokens, "entropy": token_entropy(ids), "calls": cost},
                **{"seconds": piece.seconds, "text": text},
            }


def bound(data: str, runs: Path, kind: str, who: str, folder: str, size: Size) -> float:
    """Nats per token of windows of the test split, their first token given, by the bound of the noise."""
    path = runs / "bounds" / f"{kind}-{who}-{size.length}-{size.windows}-{size.samples}.json"
    if not path.exists():
        lm = td.load(folder, device="cpu", dtype="float32")
        texts = list(read_documents(data, split="test"))
        rows = [r for r in pack_blocks(lm.format.document(texts), size.length) if len(r) == size.length]
        rows = rows[:: max(1, len(rows) // size.windows)][: size.windows]
        passages = [Passage.answer(list(row[:1]), list(row[1:]), number) for number, row in enumerate(rows)]
        nats = float(score(lm, passages, Bound(size.samples)).mean.sum()) / (len(rows) * (size.length - 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(nats).encode())
    return float(json.loads(path.read_text(encoding="utf-8")))


def _human(data: str, judge: td.DiffusionLM, model: str, size: Size) -> tuple[float, float]:
    """Nats per token of what people wrote, before the same judge, and the entropy of its tokens."""
    lm = td.load(model, device="cpu", dtype="float32")
    documents = read_documents(data, split="test")
    texts = held_out(documents, lm.format, given=0, length=size.length - 1, most=size.texts).texts
    numbers = Scorer.of(judge, lm).nats(texts)
    return sum(n for n, _, _ in numbers) / sum(t for _, t, _ in numbers), fmean(
        map(token_entropy, texts.written)
    )


# -- tables ----------------------------------------------------------------------------------------------


def per_token(rows: Sequence[Row]) -> float:
    """Nats per token before the judge, over all texts."""
    return float(sum(row["nats"] for row in rows) / max(1.0, sum(row["tokens"] for row in rows)))


def table(found: Mapping[str, Mapping[int, Mapping[int, Sequence[Row]]]], calls: Sequence[int]) -> str:
    """A line for each number of calls: teacher, student, and how far they are apart, seed by seed."""
    lines = [
        "| calls | teacher, nats per token | perplexity | student | perplexity | student less teacher "
        "| entropy, teacher | student |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for steps in calls:
        nats = {who: [per_token(rows[steps]) for rows in by.values()] for who, by in found.items()}
        spread = {
            who: [fmean(row["entropy"] for row in rows[steps]) for rows in by.values()]
            for who, by in found.items()
        }
        less = [own - base for own, base in zip(nats[STUDENT], nats[TEACHER], strict=True)]
        cells = [f"{steps}"]
        for who in (TEACHER, STUDENT):
            cells += [over_seeds(nats[who], 3), f"{math.exp(fmean(nats[who])):.1f}"]
        cells += [over_seeds(less, 3), *(over_seeds(spread[who], 2) for who in (TEACHER, STUDENT))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def drawn_points(
    kind: str, found: Mapping[str, Mapping[int, Mapping[int, Sequence[Row]]]], calls: Sequence[int]
) -> Iterator[drawn.Point]:
    """A point for each number of calls of each model, its bar two standard errors over the seeds long."""
    for who, by_seed in found.items():
        for steps in calls:
            rows = [row for of in by_seed.values() for row in of[steps]]
            nats = [per_token(of[steps]) for of in by_seed.values()]
            mean, error = fmean(nats), stdev(nats) / len(nats) ** 0.5 if len(nats) > 1 else None
            ends = (None, None) if error is None else (mean - error, mean + error)
            yield drawn.Point(
                f"{kind} {who}",
                f"{steps}",
                fmean(row["calls"] for row in rows),
                fmean(row["seconds"] for row in rows),
                mean,
                fmean(row["entropy"] for row in rows),
                *ends,
                line=f"{kind} {who}",
                best_by_calls=True,
                best_by_seconds=True,
            )


def _bounds_told(bounds: Mapping[str, Sequence[float]]) -> str:
    told = {who: over_seeds(values, 3) for who, values in bounds.items()}
    return (
        f"Bound on held-out text: teacher {told[TEACHER]} nats per token, student {told[STUDENT]}. A student "
        "learns to say more at once and not to model text better, so this is what it may have paid."
    )


def _about(command: str, human: tuple[float, float], judge: td.DiffusionLM, size: Size) -> list[str]:
    ways = ", ".join(
        f"{kind.method} by `recipes/{kind.recipe}.yaml`, texts by {kind.sampler}" for kind in KINDS.values()
    )
    exact = Scorer.of(judge, judge).exact
    return [
        f"{machine()}. Command: `{command}`.",
        f"{size.texts} texts of {size.length} tokens for each model, number of calls and seed, at "
        f"temperature 1 and without cuts; {ways}. The judge knows "
        f"{'the likelihood' if exact else 'a bound alone'}. "
        "Behind ± the standard error over the seeds; differences are taken seed by seed. Text that repeats "
        "itself is likely to a judge and worth nothing, so look at the entropy of its tokens, too: people's "
        f"have {human[1]:.2f} nats, and {human[0]:.3f} nats per token before this judge.",
        f"![The curves]({FIGURE})",
    ]


if __name__ == "__main__":
    tyro.cli(main)
