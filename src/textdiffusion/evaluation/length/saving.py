"""What reading the length first saves of a generation, and what it does to the text."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import IncompatibleError
from ...language_model import AUTO, Generation, Length
from ..intervals import Row, column, measured
from .examples import Example, Subject

_BOTH: tuple[Length | None, ...] = (AUTO, None)
"""A room that is read first, and the whole."""


@dataclass(frozen=True)
class _Run:
    texts: Sequence[Generation]
    seconds: float


def saving(subject: Subject) -> Iterator[Row]:
    """The same prompts written with the length read first and on the whole canvas, by turns.

    `exact_auto` and `exact_full` are the shares of the texts that are the true ones, `equal` of those that
    are alike; `read_auto` and `read_full` tokens of a text that the network read in all calls; calls are per
    batch. `seconds_ratio` is the median over the batches of the seconds that the first way took, over those
    of the second in the same batch, with the quartiles; the first batch warms up and is not timed.
    """
    batches = list(subject.batches())
    try:
        pairs = [_by_turns(subject, batch, number) for number, batch in enumerate([batches[0], *batches])][1:]
    except IncompatibleError as error:
        yield {"study": "saving", "texts": 0, "refused": str(error)}
        return
    found = [
        [
            float(tuple(auto.token_ids) == example.rest),
            float(tuple(full.token_ids) == example.rest),
            float(auto.token_ids == full.token_ids),
            float(auto.read_tokens),
            float(full.read_tokens),
        ]
        for (one, other), batch in zip(pairs, batches, strict=True)
        for auto, full, example in zip(one.texts, other.texts, batch, strict=True)
    ]
    names = ("exact_auto", "exact_full", "equal", "read_auto", "read_full")
    told = measured(found, {name: column(place) for place, name in enumerate(names)}, subject.seed)
    ratios = [one.seconds / other.seconds for one, other in pairs]
    quarters = np.quantile(ratios, (0.25, 0.5, 0.75))
    calls = [float(np.mean([run.texts[0].nfe for run in runs])) for runs in zip(*pairs, strict=True)]
    yield {
        "study": "saving",
        "texts": len(found),
        **told,
        "calls_auto": calls[0],
        "calls_full": calls[1],
        "seconds_ratio": float(quarters[1]),
        "seconds_ratio_low": float(quarters[0]),
        "seconds_ratio_high": float(quarters[2]),
    }


def _by_turns(subject: Subject, batch: Sequence[Example], number: int) -> tuple[_Run, _Run]:
    """Both ways on one batch; which is first changes from batch to batch."""
    order = _BOTH if number % 2 else _BOTH[::-1]
    runs = {length: _run(subject, batch, length) for length in order}
    return runs[AUTO], runs[None]


def _run(subject: Subject, batch: Sequence[Example], length: Length | None) -> _Run:
    lm, begin = subject.lm, time.perf_counter()
    task = lm.continuing(
        [list(example.given) for example in batch],
        length=length,
        seeds=[example.seed for example in batch],
        decoding=subject.decoding,
    )
    texts = lm.results(task, [frame for frame in lm.stream(task)][-1:])
    return _Run(texts, time.perf_counter() - begin)
