"""How fast contestants write, and what that takes, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plotting import new_figure, save_figure

Row = Mapping[str, Any]
"""A row with `name`, `tokens`, `seconds`, `fastest` and `slowest` of a round, and `nfe`."""


def save_speeds(path: Path, rows: Sequence[Row]) -> None:
    """Draw tokens per second, with the fastest and the slowest round, and tokens per network call.

    Raises:
        DataError: the file cannot be written.
    """
    figure = new_figure(11.0, 1.2 + 0.45 * len(rows))
    speed, calls = figure.subplots(1, 2, sharey=True)
    names = [str(row["name"]) for row in rows]
    rates = [row["tokens"] / row["seconds"] for row in rows]
    spans = [
        [rate - row["tokens"] / row["slowest"] for rate, row in zip(rates, rows, strict=True)],
        [row["tokens"] / row["fastest"] - rate for rate, row in zip(rates, rows, strict=True)],
    ]
    speed.barh(names, rates, xerr=spans, color="C0", ecolor="0.3", capsize=3)
    speed.set_xlabel("new tokens per second: middle, slowest and fastest round")
    calls.barh(names, [row["tokens"] / row["nfe"] for row in rows], color="C1")
    calls.set_xlabel("new tokens per network call")
    speed.invert_yaxis()  # the first contestant on top
    for axes in (speed, calls):
        axes.grid(alpha=0.25, axis="x")
        axes.set_axisbelow(True)
    save_figure(figure, path)
