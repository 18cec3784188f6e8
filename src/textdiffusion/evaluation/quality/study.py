"""A model's ways of writing, judged together: the whole of `evaluate generation` but for its words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...canvas import Canvas
from ...errors import SettingsError
from ...generation import Decoding
from ...language_model import DiffusionLM
from ..intervals import Measured, Row
from .judging import Suspicion, figures_of, loss, pareto, suspicions
from .metric import Material, Metric
from .texts import Texts, behind_prompts
from .writing import Desk, Written


@dataclass(frozen=True)
class Judged:
    """One way of writing, or human text."""

    name: str
    texts: Texts
    figures: Mapping[str, Measured]
    decoding: Decoding | None = None
    written: Written | None = None
    """What it cost; None for human text."""
    suspicions: Sequence[Suspicion] = ()
    best_by_calls: bool = False
    """No other way that can be believed is both cheaper and better."""
    best_by_seconds: bool = False

    def row(self) -> Row:
        """All of it as plain values; nan is None."""
        row: Row = {"way": self.name, "texts": len(self.texts)}
        if self.decoding is not None and self.written is not None:
            full, seconds = self.decoding.filled(), self.written.seconds
            settings = ("sampler", "steps", "schedule", "temperature", "top_k", "top_p", "block_size")
            row |= {name: full.__dict__[name] for name in settings} | {"settings": dict(full.settings)}
            row |= {"nfe": self.written.nfe, "seconds": self.written.median, "rounds": len(seconds)}
            row |= {"fastest": min(seconds), "slowest": max(seconds)}
            row |= {"best_by_calls": self.best_by_calls, "best_by_seconds": self.best_by_seconds}
            row["doubtful"] = {
                name.replace("-", "_"): [each.guard for each in self.suspicions if each.metric == name]
                for name in dict.fromkeys(each.metric for each in self.suspicions)
            }
        for name, figure in self.figures.items():
            row |= figure.row(name.replace("-", "_"))
        return {name: None if _is_nan(value) else value for name, value in row.items()}


@dataclass(frozen=True)
class Study:
    """What all ways of writing are judged by."""

    human: Judged
    material: Material
    metrics: Mapping[str, Metric]
    quality: str | None
    """The metric by which ways are ranked against their cost."""
    seed: int = 0

    @classmethod
    def of(
        cls, texts: Texts, material: Material, metrics: Mapping[str, Metric], quality: str | None, seed: int
    ) -> "Study":
        """Judge human text first: what cannot be measured of it is refused before anything is written."""
        human = Judged("human", texts, figures_of(texts, material, metrics, seed))
        return cls(human, material, metrics, quality, seed)

    def judge(self, ways: Mapping[str, tuple[Decoding, Texts, Written]]) -> list[Judged]:
        """All ways, with the best for their cost marked."""
        found = []
        for name, (decoding, texts, written) in ways.items():
            figures = figures_of(texts, self.material, self.metrics, self.seed)
            doubts = list(suspicions(name, figures, self.human.figures, self.metrics))
            found.append(Judged(name, texts, figures, decoding, written, doubts))
        return self._ranked(found)

    def believed(self, judged: Judged) -> bool:
        """Whether nothing speaks against the figure by which ways are ranked."""
        return all(each.metric != self.quality for each in judged.suspicions)

    def _ranked(self, found: Sequence[Judged]) -> list[Judged]:
        if self.quality is None:
            return list(found)
        metric, norm = self.metrics[self.quality], self.human.figures[self.quality].value
        fair = [n for n, each in enumerate(found) if self.believed(each)]
        losses = [loss(metric, found[n].figures[self.quality].value, norm) for n in fair]
        spent = [found[n].written or Written() for n in fair]
        best = [
            {fair[n] for n in pareto(list(zip(costs, losses, strict=True)))}
            for costs in ([each.nfe for each in spent], [each.median for each in spent])
        ]
        return [
            replace(each, best_by_calls=n in best[0], best_by_seconds=n in best[1])
            for n, each in enumerate(found)
        ]


def room_behind(lm: DiffusionLM, given: Sequence[Sequence[int]], length: int) -> Canvas:
    """Prompts with room for so many tokens.

    Raises:
        SettingsError: they do not fit into the model, or it cannot begin a text.
    """
    longest = max(len(ids) for ids in given) + length
    if longest > lm.longest:
        raise SettingsError(
            f"prompt and text have {longest} tokens, but {lm.name} holds {lm.longest}: lower --length or "
            "--given."
        )
    if lm.denoiser.shift and not all(given):
        raise SettingsError(
            f"{lm.name} says each token from the one before it and has no begin of texts; give it the first "
            "tokens of human text with --given 1 or more."
        )
    return Canvas.from_prompts(given, [length] * len(given), pad_id=lm.format.pad_id)


def desk_of(lm: DiffusionLM, *, ends: bool) -> Desk:
    """A model that writes texts of full length, or with `ends` until it ends them itself."""
    may_end = ends and lm.settings.learns_end
    banned = lm.format.banned(lm.vocab_size, learns_end=may_end)
    return Desk(lm, banned, lm.format.ends if may_end else ())


def texts_of(lm: DiffusionLM, given: Sequence[Sequence[int]], written: Written) -> Texts:
    """What was written, as metrics see it."""
    return behind_prompts(lm.format, given, written.ids)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
