"""What a distilled model is worth at few network calls: teachers and their students before one judge.

A masked model is distilled by SDTT, one of uniform noise by DCD, each once for every seed. The masked teacher
is the bundled model unless another is named; the uniform one is a folder, or is trained from the masked
teacher's weights. Texts are written from nothing, at temperature 1 and without cuts, with the same seeds by
teacher and student; the judge is any model that shares no training text with them, such as that of
frontier.py. What is trained, written and judged is kept in `--runs` and not done again, and a training that
was interrupted goes on where it stopped.

python benchmarks/distillation.py --data STORIES --scorer JUDGE --save docs/results/distillation.md
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import tyro
from bounds import train_to
from judged import Row, Writing, bound, entropy, human, judged, per_token, point
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.evaluation.quality import Scorer
from textdiffusion.views import frontier as drawn
from textdiffusion.views.files import write_whole

FIGURE = "distillation.png"
UNCUT = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
TEACHER, STUDENT = "teacher", "student"


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
    """Tokens of a row of the training, and of a window that is measured."""
    written: int = 80
    """Tokens of a text, which the judge must hold in tokens of its own."""
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

    @property
    def writing(self) -> Writing:
        """The part of it that is about writing."""
        return Writing(self.written, self.texts, self.batch)


def main(
    data: str,
    scorer: str,
    model: str = "starter",
    uniform: str = "",
    uniform_steps: int = 0,
    runs: Path = Path("runs/distillation"),
    seeds: tuple[int, ...] = (0, 1, 2),
    calls: tuple[int, ...] = (2, 4, 8, 16, 32, 64),
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
            TEACHER: {
                seed: written(runs, kind, TEACHER, teacher, judge, seed, calls, size) for seed in seeds
            },
            STUDENT: {
                seed: written(runs, kind, STUDENT, str(folder), judge, seed, calls, size)
                for seed, folder in students.items()
            },
        }
        bounds = {
            TEACHER: [measured(data, runs, kind, TEACHER, teacher, size)],
            STUDENT: [
                measured(data, runs, kind, f"{STUDENT}-{seed}", str(folder), size)
                for seed, folder in students.items()
            ],
        }
        parts += [f"## {KINDS[kind].method}: {kind} noise", _bounds_told(bounds), table(found, calls)]
        points += [
            point(f"{kind} {who}", steps, [of[steps] for of in by_seed.values()])
            for who, by_seed in found.items()
            for steps in calls
        ]
    people = human(data, judge, model, size.writing)
    shown = " ".join(f"--size.{name.replace('_', '-')} {value}" for name, value in size.__dict__.items())
    command = (
        f"python benchmarks/distillation.py --data STORIES --scorer {Path(scorer).name} --model "
        f"{Path(model).name} --uniform-steps {uniform_steps} --seeds {' '.join(map(str, seeds))} --calls "
        f"{' '.join(map(str, calls))} {shown}{f' --divergence {divergence}' if divergence else ''}"
    )
    text = "\n\n".join(["# Fewer steps by distillation", *_about(command, people, judge, size), *parts])
    print(text)
    if save is not None:
        write_whole(save, (text + "\n").encode())
        norm = drawn.Norm(people[0], entropy=people[1])
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


def written(
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
    place, sampler = runs / "texts" / f"{kind}-{who}-{seed}-{size.written}-{size.texts}", KINDS[kind].sampler
    return {
        steps: judged(
            place / f"{steps}.jsonl",
            folder,
            judge,
            td.Decoding().changed({**UNCUT, "sampler": sampler, "steps": steps}),
            seed,
            size.writing,
        )
        for steps in calls
    }


def measured(data: str, runs: Path, kind: str, who: str, folder: str, size: Size) -> float:
    """The bound on held-out text of one model."""
    path = runs / "bounds" / f"{kind}-{who}-{size.length}-{size.windows}-{size.samples}.json"
    return bound(path, folder, data, size.windows, size.samples, size.length)


# -- tables ----------------------------------------------------------------------------------------------


def table(found: Mapping[str, Mapping[int, Mapping[int, Sequence[Row]]]], calls: Sequence[int]) -> str:
    """A line for each number of calls: teacher, student, and how far they are apart, seed by seed."""
    lines = [
        "| calls | teacher, nats per token | perplexity | student | perplexity | student less teacher "
        "| entropy, teacher | student |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for steps in calls:
        nats = {who: [per_token(rows[steps]) for rows in by.values()] for who, by in found.items()}
        spread = {who: [entropy(rows[steps]) for rows in by.values()] for who, by in found.items()}
        less = [own - base for own, base in zip(nats[STUDENT], nats[TEACHER], strict=True)]
        cells = [f"{steps}"]
        for who in (TEACHER, STUDENT):
            cells += [over_seeds(nats[who], 3), f"{math.exp(fmean(nats[who])):.1f}"]
        cells += [over_seeds(less, 3), *(over_seeds(spread[who], 2) for who in (TEACHER, STUDENT))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _bounds_told(bounds: Mapping[str, Sequence[float]]) -> str:
    told = {who: over_seeds(values, 3) for who, values in bounds.items()}
    return (
        f"Bound on held-out text: teacher {told[TEACHER]} nats per token, student {told[STUDENT]}. A student "
        "learns to say more at once and not to model text better, so this is what it may have paid."
    )


def _about(command: str, people: tuple[float, float], judge: td.DiffusionLM, size: Size) -> list[str]:
    ways = ", ".join(
        f"{kind.method} by `recipes/{kind.recipe}.yaml`, texts by {kind.sampler}" for kind in KINDS.values()
    )
    exact = Scorer.of(judge, judge).exact
    return [
        f"{machine()}. Command: `{command}`.",
        f"{size.texts} texts of {size.written} tokens for each model, number of calls and seed, at "
        f"temperature 1 and without cuts; {ways}. The judge knows "
        f"{'the likelihood' if exact else 'a bound alone'}. "
        "Behind ± the standard error over the seeds; differences are taken seed by seed. Text that repeats "
        "itself is likely to a judge and worth nothing, so look at the entropy of its tokens, too: people's "
        f"have {people[1]:.2f} nats, and {people[0]:.3f} nats per token before this judge.",
        f"![The curves]({FIGURE})",
    ]


if __name__ == "__main__":
    tyro.cli(main)
