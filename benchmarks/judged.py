"""Texts that a model writes from nothing, each by its own seed, and what a judge says of them, in files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bounds import test_windows

import textdiffusion as td
from textdiffusion.data.sources import read_documents
from textdiffusion.evaluation.likelihood import Bound, Passage, score
from textdiffusion.evaluation.quality import Scorer
from textdiffusion.evaluation.quality.study import desk_of, room_behind
from textdiffusion.evaluation.quality.texts import behind_prompts, held_out
from textdiffusion.evaluation.quality.writing import even_parts
from textdiffusion.evaluation.variety import token_entropy
from textdiffusion.views import frontier as drawn
from textdiffusion.views.files import write_whole

Row = dict[str, Any]
"""One text: its nats and tokens before the judge, entropy, calls, seconds, and the text."""


@dataclass(frozen=True)
class Writing:
    """How much is written."""

    length: int = 128
    """Tokens of a text, its begin included."""
    texts: int = 128
    """Texts by each seed."""
    batch: int = 32


def judged(
    path: Path, model: str, judge: td.DiffusionLM, decoding: td.Decoding, seed: int, writing: Writing
) -> list[Row]:
    """The texts in a file, which are written and judged first unless they are there."""
    if not path.exists():
        rows = list(_written(loaded(model), judge, decoding, seed, writing))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join(map(json.dumps, rows)).encode())
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    print(path, f"{per_token(found):.3f}", flush=True)
    return found


def seconds(model: str, decoding: td.Decoding, length: int, seed: int) -> float:
    """For one text written alone, which does not end before its length."""
    lm = loaded(model)
    prompt = lm.format.prompt("")
    canvas = room_behind(lm, [prompt], length - len(prompt))
    return desk_of(lm, ends=False).write(canvas, decoding, [seed]).seconds


def bound(path: Path, model: str, data: str, windows: int, samples: int, length: int | None = None) -> float:
    """Nats per token of whole windows of the test split, their first token given, by the model's noise."""
    if not path.exists():
        lm = loaded(model)
        rows = test_windows(lm, data, windows, length).tolist()
        passages = [Passage.answer(row[:1], row[1:], number) for number, row in enumerate(rows)]
        nats = float(score(lm, passages, Bound(samples)).mean.sum()) / sum(len(row) - 1 for row in rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(nats).encode())
    return float(json.loads(path.read_text(encoding="utf-8")))


def human(data: str, judge: td.DiffusionLM, model: str, writing: Writing) -> tuple[float, float]:
    """Nats per token of what people wrote, before the same judge, and the entropy of its tokens."""
    lm = loaded(model)
    documents = read_documents(data, split="test")
    texts = held_out(documents, lm.format, given=0, length=writing.length - 1, most=writing.texts).texts
    numbers = Scorer.of(judge, lm).nats(texts)
    nats, tokens = (sum(each[place] for each in numbers) for place in (0, 1))
    return nats / tokens, fmean(map(token_entropy, texts.written))


def per_token(rows: Sequence[Row]) -> float:
    """Nats per token before the judge, over all texts."""
    return float(sum(row["nats"] for row in rows) / max(1.0, sum(row["tokens"] for row in rows)))


def point(line: str, steps: int, texts: Sequence[Sequence[Row]]) -> drawn.Point:
    """What all seeds wrote in so many steps; its bar is two standard errors over the seeds long."""
    nats, rows = [per_token(each) for each in texts], [row for each in texts for row in each]
    mean, error = fmean(nats), stdev(nats) / len(nats) ** 0.5 if len(nats) > 1 else None
    ends = (None, None) if error is None else (mean - error, mean + error)
    return drawn.Point(
        line,
        f"{steps}",
        fmean(row["calls"] for row in rows),
        fmean(row["seconds"] for row in rows),
        mean,
        entropy(rows),
        *ends,
        line=line,
        best_by_calls=True,
        best_by_seconds=True,
    )


def entropy(rows: Sequence[Row]) -> float:
    """Of the tokens of a text, in the mean, in nats."""
    return fmean(row["entropy"] for row in rows)


@lru_cache(maxsize=1)
def loaded(model: str) -> td.DiffusionLM:
    """The model that is at work."""
    return td.load(model, device="cpu", dtype="float32")


def _written(
    lm: td.DiffusionLM, judge: td.DiffusionLM, decoding: td.Decoding, seed: int, writing: Writing
) -> Iterator[Row]:
    desk, reader, prompt = desk_of(lm, ends=False), Scorer.of(judge, lm), lm.format.prompt("")
    for part in even_parts(writing.texts, writing.batch):
        given = [prompt] * len(part)
        canvas = room_behind(lm, given, writing.length - len(prompt))
        piece = desk.write(canvas, decoding, [seed * 100_000 + number for number in part])
        texts = behind_prompts(lm.format, given, piece.ids)
        for ids, cost, (nats, tokens, _), text in zip(
            piece.ids, piece.calls, reader.nats(texts), texts.texts, strict=True
        ):
            yield {
                **{"nats": nats, "tokens": tokens, "entropy": token_entropy(ids), "calls": cost},
                **{"seconds": piece.seconds, "text": text},
            }
