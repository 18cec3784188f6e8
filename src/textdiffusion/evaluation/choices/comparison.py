"""One task, one or two models: the numbers of each, and the difference in pairs."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError
from ..documents import draw
from ..intervals import Measured, Row, Statistic, bootstrap
from .measures import Outcome, Subject
from .tasks import Benchmark


@dataclass(frozen=True)
class Report:
    """What was found of one model."""

    name: str
    outcome: Outcome
    numbers: dict[str, Measured]
    items: int
    left_out: int
    """Items for which a model had no room."""
    seconds: float
    """Wall time, loading left out."""

    def row(self) -> Row:
        """All numbers as one line."""
        told = {"items": self.items, "left_out": self.left_out, **self.outcome.told, "seconds": self.seconds}
        return {"model": self.name, **_flat(self.numbers), **told}


def compare(
    benchmark: Benchmark[Any],
    subjects: Sequence[Subject],
    items: Iterable[Any],
    *,
    limit: int | None,
    seed: int,
) -> Iterator[Report]:
    """The report of each model on the same items, up to `limit` of them, drawn by the seed.

    Raises:
        DataError: no item has room in all models.
    """
    drawn = draw(items, limit, seed)
    kept = [item for item in drawn if all(benchmark.measure.fits(each.lm, item) for each in subjects)]
    if not kept:
        raise DataError(f"none of {len(drawn)} items has room in the model; give others, or another model.")
    for subject in subjects:
        begin = time.perf_counter()
        outcome = benchmark.measure(subject, kept)
        seconds = time.perf_counter() - begin
        numbers = bootstrap(outcome.table, outcome.statistics, seed)
        yield Report(subject.lm.name, outcome, numbers, len(kept), len(drawn) - len(kept), seconds)


def difference(first: Report, second: Report, seed: int) -> dict[str, Measured]:
    """By how much the first is above the second, from pairs of the same item."""
    one, two = first.outcome, second.outcome
    width = len(one.columns)

    def less(of: Statistic) -> Statistic:
        return lambda means: of(means[..., :width]) - of(means[..., width:])

    table = np.hstack([one.table, two.table])
    return bootstrap(table, {name: less(of) for name, of in one.statistics.items()}, seed)


def difference_row(first: Report, second: Report, seed: int) -> Row:
    """The same as one line."""
    names = f"{first.name} - {second.name}"
    return {"model": names, **_flat(difference(first, second, seed)), "items": first.items}


def _flat(numbers: dict[str, Measured]) -> Row:
    return {key: value for name, number in numbers.items() for key, value in number.row(name).items()}
