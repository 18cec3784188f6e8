"""What is measured: the likeliest option, a last word, what written texts have in common with true ones."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from ...generation import Decoding
from ...language_model import DiffusionLM
from ..answers import Option, Pace, Score, fill, greedy, place, scores, write
from ..batches import TOKENS_AT_ONCE
from ..intervals import Means, Row, Statistic, column, ratio
from ..methods import Scoring
from .agreement import ROUGE, exact_match, f1, rouge_scorer
from .items import Choice, Question

Item = TypeVar("Item")


@dataclass(frozen=True)
class Subject:
    """A model and how it is asked."""

    lm: DiffusionLM
    scoring: Scoring
    """Of likelihood."""
    decoding: Decoding
    """Of what is written."""
    length: int = 16
    """New tokens of a written answer; a gap has as many as its true text."""
    mutual: bool = False
    """Whether options are also scored without what stands around them."""
    seed: int = 0
    """Of noise and of what is written."""
    tokens_at_once: int = TOKENS_AT_ONCE

    def scores(self, options: Sequence[Option]) -> list[Score]:
        """How unlikely each option is."""
        method = self.scoring.chosen()
        return scores(self.lm, options, method, seed=self.seed, tokens_at_once=self.tokens_at_once)

    def told(self, found: Sequence[Score]) -> Row:
        """How the scores came about."""
        method = self.scoring.chosen()
        exact = method.exact(self.lm.denoiser, method.noise(self.lm), scored=2)
        cut = sum(score.placed.cut > 0 for score in found)
        return {
            "method": self.scoring.method,
            "exact": exact,
            "samples": 1 if exact else method.samples,
            "cut": cut,
        }


@dataclass(frozen=True)
class Outcome:
    """What was found."""

    rows: Sequence[Row]
    """For each item what was asked and answered, and every one of the columns."""
    columns: Sequence[str]
    """What was measured of each item, by its name in the rows."""
    statistics: Mapping[str, Statistic]
    """Numbers made of the means of the columns."""
    told: Row
    """What is known of the run as a whole."""

    @property
    def table(self) -> list[list[float]]:
        """Items x columns."""
        return [[float(row[name]) for name in self.columns] for row in self.rows]


class Measure(ABC, Generic[Item]):
    """A way to measure a model by items of one kind."""

    def check(self) -> None:
        """Raise SettingsError if a package is missing."""

    def fits(self, lm: DiffusionLM, item: Item) -> bool:
        """Whether the model has room for the item; prompts may be cut, the rest not."""
        return True

    @abstractmethod
    def __call__(self, subject: Subject, items: Sequence[Item]) -> Outcome:
        """Ask the model about all items."""


class Likeliest(Measure[Choice]):
    """The likeliest option is the answer, in the ways and by the names of lm-evaluation-harness.

    `acc` goes by log p, `acc_norm` by log p per character, `acc_bytes` per byte; `acc_tokens` per token, and
    `acc_mutual_info` by what prompt and suffix add to log p.
    """

    def fits(self, lm: DiffusionLM, item: Choice) -> bool:
        return all(place(lm, option) is not None for option in item.options)

    def __call__(self, subject: Subject, items: Sequence[Choice]) -> Outcome:
        options = [option for item in items for option in item.options]
        found = subject.scores(options)
        alone = subject.scores([Option("", option.answer) for option in options]) if subject.mutual else []
        rows, rest, bare = list[Row](), iter(found), iter(alone)
        for item in items:
            size = len(item.options)
            ways = _ways(list(islice(rest, size)), list(islice(bare, size)))
            names, chosen = list(ways), {name: int(np.argmin(values)) for name, values in ways.items()}
            rows.append(
                {
                    "prompt": item.options[0].prompt,
                    "options": [option.answer for option in item.options],
                    "suffix": item.options[0].suffix,
                    "gold": item.gold,
                    "chosen": chosen["acc"],
                    "nats": ways["acc"].tolist(),
                    **{name: float(number == item.gold) for name, number in chosen.items()},
                }
            )
        chance = sum(1.0 / len(item.options) for item in items) / len(items)
        return Outcome(rows, names, _means(names), {"chance": chance, **subject.told(found)})


class LastWord(Measure[Option]):
    """Whether the model would write the true last word, all its tokens, and how likely that is.

    `acc` counts words that come out of greedy decoding into a gap of their size; `perplexity` is that of a
    word. Both are what lm-evaluation-harness calls so.
    """

    def fits(self, lm: DiffusionLM, item: Option) -> bool:
        return place(lm, item) is not None

    def __call__(self, subject: Subject, items: Sequence[Option]) -> Outcome:
        found = subject.scores(items)
        right = greedy(subject.lm, [score.placed for score in found], subject.tokens_at_once)
        rows = [
            {
                "prompt": item.prompt,
                "answer": item.answer,
                "acc": float(here),
                "nats": score.nats,
                "nats_error": score.error if score.error == score.error else None,
                "tokens": score.placed.tokens,
            }
            for item, here, score in zip(items, right, found, strict=True)
        ]
        statistics: dict[str, Statistic] = {
            "acc": column(0),
            "perplexity": lambda means: np.exp(means[..., 1]),
            "nats_per_token": lambda means: ratio(means[..., 1], means[..., 2]),
        }
        return Outcome(rows, ("acc", "nats", "tokens"), statistics, subject.told(found))


class Infilled(Measure[Option]):
    """What a gap is filled with against what stood there: F1 of ROUGE-1, ROUGE-2 and ROUGE-L."""

    def check(self) -> None:
        rouge_scorer()

    def fits(self, lm: DiffusionLM, item: Option) -> bool:
        return place(lm, item) is not None

    def __call__(self, subject: Subject, items: Sequence[Option]) -> Outcome:
        rouge = rouge_scorer()
        texts, pace = fill(
            subject.lm,
            items,
            decoding=subject.decoding,
            seed=subject.seed,
            tokens_at_once=subject.tokens_at_once,
        )
        rows = [
            {"prefix": item.prompt, "infill": text, "suffix": item.suffix, "truth": item.answer.strip()}
            | dict(zip(ROUGE, rouge(item.answer, text), strict=True))
            for item, text in zip(items, texts, strict=True)
        ]
        return Outcome(rows, ROUGE, _means(ROUGE), _paced(pace))


@dataclass(frozen=True)
class Answered(Measure[Question]):
    """What an answer in words has in common with a right one: `exact_match` and `f1`, as SQuAD counts."""

    until: tuple[str, ...] = ("\n",)
    """Words at which an answer is over."""

    def __call__(self, subject: Subject, items: Sequence[Question]) -> Outcome:
        texts, pace = write(
            subject.lm,
            [item.prompt for item in items],
            length=subject.length,
            decoding=subject.decoding,
            until=self.until,
            seed=subject.seed,
            tokens_at_once=subject.tokens_at_once,
        )
        rows = [
            {
                "prompt": item.prompt,
                "answer": text,
                "truth": list(item.answers),
                "exact_match": exact_match(text, item.answers),
                "f1": f1(text, item.answers),
            }
            for item, text in zip(items, texts, strict=True)
        ]
        return Outcome(rows, ("exact_match", "f1"), _means(("exact_match", "f1")), _paced(pace))


def _ways(found: Sequence[Score], alone: Sequence[Score]) -> dict[str, Means]:
    """What the options of an item are compared by; the least is chosen."""
    nats = np.array([score.nats for score in found])
    texts = [score.placed.text for score in found]
    ways = {
        "acc": nats,
        "acc_norm": nats / [max(1, len(text)) for text in texts],
        "acc_bytes": nats / [max(1, len(text.encode())) for text in texts],
        "acc_tokens": nats / [score.placed.tokens for score in found],
    }
    return ways | ({"acc_mutual_info": nats - [score.nats for score in alone]} if alone else {})


def _means(names: Sequence[str]) -> dict[str, Statistic]:
    return {name: column(number) for number, name in enumerate(names)}


def _paced(pace: Pace) -> Row:
    speed = {"steps": pace.steps, "nfe": pace.nfe, "steps_per_second": pace.steps_per_second}
    return {**speed, "cut": pace.cut}
