"""Models that can revise what they wrote, beside one that cannot: masks, uniform noise, Duo, a mixture.

Equal networks, text, steps and optimiser; each begins with next tokens and goes on by its own noise, with the
same rows in the same order. All but the masked one are told the time, which their best answer hangs on. All
read one half of the training text; the judge of their texts is a model that read the other, such as that of
frontier.py. The two symmetric divergences take part as ways to train. Three questions: what bound each
reaches; what its texts are worth at 8 to 256 network calls, by samplers that correct themselves and by one
that does not; and how many damaged tokens it restores. What is trained, written and counted is kept in
`--runs` and not done again, and what was interrupted goes on where it stopped.

python benchmarks/correction.py --data STORIES --scorer JUDGE --save docs/results/correction.md
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import tyro
from bounds import QUIET, train_to
from halves import half
from judged import Row, Writing, bound, entropy, human, judged, loaded, per_token, point
from seeds import over_seeds
from timing import machine

import textdiffusion as td
from textdiffusion.data.sources import read_documents
from textdiffusion.evaluation.quality import Scorer
from textdiffusion.evaluation.quality.texts import held_out
from textdiffusion.evaluation.revision import DAMAGES, Tried, restored, revise_damaged
from textdiffusion.evaluation.revision.units import Count
from textdiffusion.revising import LOOKS
from textdiffusion.views import frontier as drawn
from textdiffusion.views.files import write_whole

FIGURE = "correction.png"
CORRECTING = ("remdm-rescale", "remdm-loop", "confidence-remask", "psi", "entropy-renoise")
"""Samplers that write places anew beyond what the noise takes back by itself."""
TEXTS = Writing(texts=48, batch=48)
UNIFORM = {"noise": "uniform", "time_conditioning": True}


@dataclass(frozen=True)
class Contestant:
    """A way to train, and the ways in which what was trained writes."""

    changes: Mapping[str, Any]
    """Of the recipe `quick`."""
    plain: str
    """The sampler that follows its noise backwards."""
    others: Mapping[str, Mapping[str, Any]]
    """Further samplers with their settings."""


CONTESTANTS: Mapping[str, Contestant] = {
    "masked": Contestant(
        {"objective": "nelbo"},
        "ancestral",
        {"remdm-rescale": {}, "remdm-loop": {}, "confidence-remask": {}, "psi": {"kappa": 0.98}},
    ),
    "uniform": Contestant(
        {"objective": "nelbo", **UNIFORM},
        "posterior",
        {"psi": {"kappa": 0.98}, "greedy-tail": {}, "entropy-renoise": {}},
    ),
    "duo": Contestant(
        {"objective": "duo", **UNIFORM},
        "posterior",
        {"psi": {"kappa": 0.98}, "greedy-tail": {}, "entropy-renoise": {}},
    ),
    "mixture": Contestant(
        {
            "objective": "nelbo",
            "noise": "mask-uniform",
            "noise_settings": {"mask_share": 0.8},
            "time_conditioning": True,
        },
        "posterior",
        {"psi": {"kappa": 0.98}, "greedy-tail": {}, "entropy-renoise": {}},
    ),
    **{
        objective: Contestant({"objective": objective, **UNIFORM}, "posterior", {})
        for objective in ("symmetric-kl", "symmetric-kl-flowlm")
    },
}


@dataclass(frozen=True)
class Size:
    """How much is trained, written and measured."""

    steps: int = 1500
    causal_share: float = 0.4
    """Part of the steps that predict next tokens."""
    windows: int = 300
    """Of the test split, for the bound."""
    samples: int = 8
    """Draws of noise for each window."""
    damaged: int = 60
    """Texts that are damaged in each way."""
    tokens: int = 64
    """First tokens of each that are kept."""
    noise_rate: float = 0.2
    """Share of these that is believed wrong, whatever is."""


def main(
    data: str,
    scorer: str,
    runs: Path = Path("runs/correction"),
    seeds: tuple[int, ...] = (0, 1, 2),
    calls: tuple[int, ...] = (8, 16, 32, 64, 128, 256),
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3),
    top_p: float = 0.9,
    size: Size = Size(),
    writing: Writing = TEXTS,
    train_only: bool = False,
    compile: bool = True,
    save: Path | None = None,
) -> None:
    """Train what is missing, measure all of it, and print the tables."""
    folders = {
        name: {seed: trained(data, scorer, runs, name, seed, size, compile) for seed in seeds}
        for name in CONTESTANTS
    }
    if train_only:
        return
    judge = td.load(scorer, device="cpu", dtype="float32")
    bounds, frontier = dict[str, list[float]](), dict[tuple[str, str], dict[int, list[list[Row]]]]()
    mended = dict[tuple[str, str, float], list[list[Tried]]]()
    for name, by_seed in folders.items():
        for seed, folder in by_seed.items():
            path = runs / "bounds" / f"{name}-{seed}-{size.windows}-{size.samples}.json"
            bounds.setdefault(name, []).append(bound(path, str(folder), data, size.windows, size.samples))
            for way, decoding in ways(name, top_p).items():
                for steps in calls:
                    place = runs / "texts" / f"{name}-{seed}-{writing.length}-{writing.texts}-{top_p}"
                    full = decoding.changed({"steps": steps})
                    rows = judged(place / f"{way}-{steps}.jsonl", str(folder), judge, full, seed, writing)
                    frontier.setdefault((name, way), {}).setdefault(steps, []).append(rows)
            for key, tried in revised(data, runs, name, seed, str(folder), shares, size):
                mended.setdefault((name, *key), []).append(tried)
    people = human(data, judge, str(folders["masked"][seeds[0]]), writing)
    own = [("seeds", " ".join(map(str, seeds))), ("calls", " ".join(map(str, calls))), ("top-p", str(top_p))]
    own += [(f"size.{name.replace('_', '-')}", str(value)) for name, value in asdict(size).items()]
    own += [(f"writing.{name}", str(value)) for name, value in asdict(writing).items()]
    flags = " ".join(f"--{name} {value}" for name, value in own)
    command = f"python benchmarks/correction.py --data STORIES --scorer {Path(scorer).name} {flags}"
    text = "\n\n".join(
        [
            "# Models that correct themselves",
            f"{machine()}. Command: `{command}`.",
            "Behind ± the standard error over the seeds.",
            "## Bounds",
            bounds_told(bounds),
            "## Texts at few calls",
            f"{writing.texts} texts of {writing.length} tokens by each seed, the most probable tokens that "
            f"reach {top_p} being kept, before a judge that knows "
            f"{'the likelihood' if Scorer.of(judge, judge).exact else 'a bound alone'}. What people wrote "
            f"has {people[0]:.3f} nats per token there, and its tokens an entropy of {people[1]:.2f}. Text "
            "that repeats itself is likely and worth nothing, so each cell holds both: nats per token before "
            "the judge / entropy of the tokens.",
            f"![The curves]({FIGURE})",
            frontier_told(frontier, calls),
            "## Drafts",
            f"{size.damaged} held-out texts of {size.tokens} tokens for each line and seed, revised as "
            f"`textdiffusion revise --noise-rate {size.noise_rate}` does, in percent. Gained: restored less "
            "spoilt tokens of all, with the standard error over the seeds and, in brackets, the 95 % "
            "interval over all texts.",
            drafts_told(mended),
        ]
    )
    print(text)
    if save is not None:
        write_whole(save, (text + "\n").encode())
        norm = drawn.Norm(people[0], entropy=people[1])
        points = [
            point(f"{name}, {way}", steps, texts)
            for (name, way), by_calls in frontier.items()
            for steps, texts in by_calls.items()
        ]
        drawn.save_frontier(save.with_name(FIGURE), points, norm, "nats per token before the judge")


def trained(data: str, scorer: str, runs: Path, name: str, seed: int, size: Size, compile: bool) -> Path:
    """The folder of a contestant, trained unless it is there."""
    folder = runs / f"{name}-{seed}"
    changes = {
        **{**QUIET, "data": str(half(data, runs / "halves", 0)), "compile": compile},
        **{"steps": size.steps, "causal_share": size.causal_share, "seed": seed, "save_every": 100},
        **CONTESTANTS[name].changes,
    }
    train_to(folder, {**changes, "tokenizer": scorer})  # so that the judge reads the very tokens
    return folder


def ways(name: str, top_p: float) -> dict[str, td.Decoding]:
    """How a contestant writes, by the name of the sampler, the plain one first."""
    own = CONTESTANTS[name]
    named: dict[str, Mapping[str, Any]] = {own.plain: {}, **own.others}
    return {
        way: td.Decoding().changed({"sampler": way, "temperature": 1.0, "top_p": top_p, **settings})
        for way, settings in named.items()
    }


def revised(
    data: str, runs: Path, name: str, seed: int, model: str, shares: Sequence[float], size: Size
) -> Iterator[tuple[tuple[str, float], list[Tried]]]:
    """What became of damaged texts, by damage and share; share 0 is asked of one damage alone."""
    for damage in DAMAGES:
        for share in shares:
            if share == 0.0 and damage != next(iter(DAMAGES)):
                continue
            own = f"{damage}-{share}-{size.damaged}-{size.tokens}-{size.noise_rate}.json"
            path = runs / "revised" / f"{name}-{seed}" / own
            if not path.exists():
                lm = loaded(model)
                documents = read_documents(data, split="test")
                kept = held_out(
                    documents, lm.format, given=0, length=size.tokens, most=size.damaged
                ).texts.texts
                tried = revise_damaged(
                    lm, kept, damage, share, noise_rate=size.noise_rate, looks=LOOKS, seed=seed, options={}
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, json.dumps([asdict(each) for each in tried]).encode())
            rows = json.loads(path.read_text(encoding="utf-8"))
            yield (damage, share), [Tried(Count(**row.pop("count")), **row) for row in rows]


# -- tables ----------------------------------------------------------------------------------------------


def bounds_told(bounds: Mapping[str, Sequence[float]]) -> str:
    """The bound of each by its own noise, and how far it is from that of masks, seed by seed."""
    lines = ["| | nats per token | by seed | more than masked |", "|---|---|---|---|"]
    for name, values in bounds.items():
        more = [value - base for value, base in zip(values, bounds["masked"], strict=True)]
        shown = ", ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {name} | {over_seeds(values)} | {shown} | {over_seeds(more)} |")
    return "\n".join(lines)


def frontier_told(
    found: Mapping[tuple[str, str], Mapping[int, Sequence[Sequence[Row]]]], calls: Sequence[int]
) -> str:
    """A line for each way of writing, a column for each number of calls."""
    lines = [f"| | sampler | {' | '.join(map(str, calls))} |", f"|---|---|{'---|' * len(calls)}"]
    for (name, way), by_calls in found.items():
        cells = []
        for steps in calls:
            texts = by_calls[steps]
            nats, spread = [per_token(rows) for rows in texts], fmean(entropy(rows) for rows in texts)
            cells.append(f"{over_seeds(nats, 2)} / {spread:.2f}")
        mark = " (corrects)" if way in CORRECTING else ""
        lines.append(f"| {name} | {way}{mark} | {' | '.join(cells)} |")
    return "\n".join(lines)


def drafts_told(found: Mapping[tuple[str, str, float], Sequence[Sequence[Tried]]]) -> str:
    """A line for each damage, share and contestant."""
    lines = ["| damage | | damaged | restored | spoilt | gained | calls |", "|---|---|---|---|---|---|---|"]
    for name, damage, share in sorted(found, key=lambda key: (list(DAMAGES).index(key[1]), key[2])):
        by_seed = found[name, damage, share]
        rows = [restored(tried, 0) for tried in by_seed]
        together = restored([each for tried in by_seed for each in tried], 0)
        cells = {
            key: over_seeds([100.0 * row[key] for row in rows], 1) if rows[0][key] is not None else ""
            for key in ("damaged", "restored", "broken", "gained")
        }
        low, high = (100.0 * together[f"gained_{end}"] for end in ("low", "high"))
        told = f"{cells['gained']} ({low:.1f} to {high:.1f})"
        what = f"{damage}, {share:.0%}" if share else "none"
        lines.append(
            f"| {what} | {name} | {cells['damaged']} | {cells['restored']} | {cells['broken']} | {told} | "
            f"{fmean(row['calls'] for row in rows):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
