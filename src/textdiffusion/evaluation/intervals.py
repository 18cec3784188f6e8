"""Numbers about many texts with standard errors and intervals, by drawing the texts anew with replacement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
"""One line of a report: names and plain values."""
Means = NDArray[np.float64]
"""Means over texts; the last axis holds what was measured of each."""
Statistic = Callable[[Means], Means]
"""A number made of such means, e.g. a ratio of two of them."""

DRAWS = 1000
"""How often the texts are drawn anew."""
LEVEL = 0.95
"""How often an interval should hold the truth."""
_AT_ONCE = 2_000_000
"""Numbers that are drawn together."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Measured:
    """A number about many texts, and how well it is known from so many."""

    value: float
    error: float | None
    """Standard error over the texts; None where there is a single one."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end."""

    def row(self, name: str) -> Row:
        """The four numbers under NAME, NAME_error, NAME_low and NAME_high."""
        ends = {"error": self.error, "low": self.low, "high": self.high}
        return {name: self.value, **{f"{name}_{part}": number for part, number in ends.items()}}


def bootstrap(
    table: Sequence[Sequence[float]] | NDArray[np.float64],
    statistics: Mapping[str, Statistic],
    seed: int,
    *,
    draws: int = DRAWS,
) -> dict[str, Measured]:
    """Each statistic of a table with a line for each text (texts x columns), with its error and interval.

    Two models are compared by one table that holds both: their difference is then drawn in pairs. The error
    is the spread over tables drawn anew (Efron 1979), the interval is bias-corrected and accelerated (BCa,
    Efron 1987), so that it is uneven where the statistic is skewed, and never leaves its range.
    """
    of_texts = np.asarray(table, dtype=np.float64)
    count, mean = len(of_texts), of_texts.mean(0, keepdims=True)
    if count == 1:
        return {name: Measured(float(of(mean)[0]), None, None, None) for name, of in statistics.items()}
    drawn = np.concatenate(list(_drawn(of_texts, draws, np.random.default_rng(seed))))
    without = (count * mean - of_texts) / (count - 1)
    found = {}
    for name, of in statistics.items():
        value, again = float(of(mean)[0]), of(drawn)
        low, high = _interval(value, again, of(without))
        found[name] = Measured(value, float(again.std(ddof=1)), low, high)
    return found


def jackknife(of: Callable[[Sequence[int]], float], count: int, *, groups: int = 10) -> Measured:
    """A number about a set of `count` texts as a whole, which is no mean over them.

    `of` gives it for some of the texts, by their numbers. Drawing texts anew would put the same text in a set
    twice, which a measure of variety must not see: each of the groups is left out once instead (Quenouille
    1956, Tukey 1958).
    """
    value = of(range(count))
    if count < 2 * groups:
        return Measured(value, None, None, None)
    without = [of([row for row in range(count) if row % groups != left]) for left in range(groups)]
    error = float(np.std(without) * (groups - 1.0) ** 0.5)
    reach = _student(groups - 1.0) * error
    return Measured(value, error, value - reach, value + reach)


def measured(table: Sequence[Sequence[float]], statistics: Mapping[str, Statistic], seed: int) -> Row:
    """Each statistic of a table with a line for each text, and under `NAME_error` its standard error."""
    found: Row = {}
    for name, number in bootstrap(table, statistics, seed).items():
        found |= {name: number.value, f"{name}_error": number.error}
    return found


def column(place: int) -> Statistic:
    """The mean of one column itself."""
    return lambda means: means[..., place]


def ratio(over: Means, under: Means) -> Means:
    """One mean over another, 0 where there is nothing of the second."""
    return np.divide(over, under, out=np.zeros_like(over), where=under != 0.0)


def _drawn(of_texts: Means, draws: int, random: np.random.Generator) -> Iterator[Means]:
    """Means of tables drawn anew, a bounded number at a time."""
    at_once = max(1, _AT_ONCE // of_texts.size)
    for first in range(0, draws, at_once):
        size = (min(at_once, draws - first), len(of_texts))
        yield of_texts[random.integers(len(of_texts), size=size)].mean(1)


def _interval(value: float, drawn: Means, without: Means) -> tuple[float, float]:
    """The BCa interval of a statistic by its values on tables drawn anew, and on those without one text."""
    off = without.mean() - without
    square, below = float((off**2).sum()), float((drawn < value).mean() + (drawn <= value).mean()) / 2.0
    if square == 0.0 or not 0.0 < below < 1.0:
        low, high = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
        return float(low), float(high)
    bias, speed = _NORMAL.inv_cdf(below), float((off**3).sum()) / (6.0 * square**1.5)
    steps = [bias + side * _reach(off) for side in (-1.0, 1.0)]
    low, high = np.quantile(drawn, [_NORMAL.cdf(bias + step / (1.0 - speed * step)) for step in steps])
    return float(low), float(high)


def _reach(off: Means) -> float:
    """Standard errors from the middle to either end: Student's t, as the spread is not known but measured.

    A spread that hangs on a few long texts is known worse. Their kurtosis says how many texts of a normal law
    would be as good (Satterthwaite 1946), which are the degrees of freedom; a resampled table also spreads a
    little too little (Hesterberg, arXiv:1411.5279). With 100 documents of very unequal length the interval
    holds the truth in 94 of 100 cases instead of 92.
    """
    count = len(off)
    heavy = count * float((off**4).sum()) / float((off**2).sum()) ** 2 - 1.0
    free = min(count - 1.0, 2.0 * count / max(heavy, 1e-9))
    return float(_student(free) * (count / (count - 1.0)) ** 0.5)


def _student(free: float) -> float:
    """The quantile of t at the end of an interval, by its expansion (Abramowitz and Stegun 26.7.5)."""
    z = _NORMAL.inv_cdf((1.0 + LEVEL) / 2.0)
    return z + (z**3 + z) / (4.0 * free) + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * free**2)
