"""Numbers about many texts with their standard errors, by drawing the texts anew with replacement."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
"""One line of a report: names and plain values."""
Means = NDArray[np.float64]
"""Means over texts; the last axis holds what was measured of each."""
Statistic = Callable[[Means], Means]
"""A number made of such means, e.g. a ratio of two of them."""

_DRAWS = 400


def measured(table: Sequence[Sequence[float]], statistics: Mapping[str, Statistic], seed: int) -> Row:
    """Each statistic of a table with a line for each text, and under `NAME_error` its standard error.

    The error is that of the bootstrap over texts (Efron 1979), None for a single one.
    """
    of_texts = np.asarray(table, dtype=np.float64)
    count = len(of_texts)
    draw = np.random.default_rng(seed)
    drawn = np.stack([of_texts[draw.integers(count, size=count)].mean(0) for _ in range(_DRAWS)])
    found: Row = {}
    for name, statistic in statistics.items():
        found[name] = float(statistic(of_texts.mean(0, keepdims=True))[0])
        found[f"{name}_error"] = float(statistic(drawn).std(ddof=1)) if count > 1 else None
    return found


def column(place: int) -> Statistic:
    """The mean of one column itself."""
    return lambda means: means[..., place]


def ratio(over: Means, under: Means) -> Means:
    """One mean over another, 0 where there is nothing of the second."""
    return np.divide(over, under, out=np.zeros_like(over), where=under != 0.0)
