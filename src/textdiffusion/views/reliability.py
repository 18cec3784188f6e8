"""How sure a model is against how often it is right, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plotting import new_figure, save_figure

Row = Mapping[str, Any]
"""A row with `at`, `tokens`, and `accuracy` and `confidence` with their intervals."""


def save_reliability(
    path: Path,
    bins: Sequence[Row],
    ratios: Sequence[Row],
    quarters: Sequence[Row],
    *,
    width: float,
    title: str,
) -> None:
    """Draw accuracy by confidence, in bins of that width, by mask ratio and by quarter of the text.

    On the dashed line a model is as often right as it is sure. Bars are the share of the tokens in a bin.

    Raises:
        DataError: the file cannot be written.
    """
    figure = new_figure(14.0, 4.6)
    sure, masked, place = figure.subplots(1, 3)
    _reliability(sure, bins, width, title)
    _both(masked, ratios, "share of the tokens masked")
    _both(place, quarters, "quarter of the text")
    place.set_xticks([row["at"] for row in quarters])
    save_figure(figure, path)


def _reliability(axes: Any, bins: Sequence[Row], width: float, title: str) -> None:
    total = sum(row["tokens"] for row in bins)
    lefts, shares = [row["at"] for row in bins], [row["tokens"] / total for row in bins]
    axes.bar(lefts, shares, width=width, align="edge", color="lightgrey", label="share of the tokens")
    axes.plot([0.0, 1.0], [0.0, 1.0], color="grey", linewidth=0.9, linestyle="--", label="calibrated")
    _line(axes, [row["confidence"] for row in bins], bins, "accuracy", "C0")
    axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    axes.legend(loc="upper left", fontsize=8)
    axes.grid(alpha=0.25)


def _both(axes: Any, rows: Sequence[Row], said: str) -> None:
    at = [float(row["at"]) for row in rows]
    _line(axes, at, rows, "accuracy", "C0")
    _line(axes, at, rows, "confidence", "C1")
    axes.set(xlabel=said, ylim=(0.0, 1.0))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)


def _line(axes: Any, at: Sequence[float], rows: Sequence[Row], name: str, colour: str) -> None:
    """The values, and their intervals where these are known."""
    axes.plot(at, [row[name] for row in rows], "o-", color=colour, markersize=4, linewidth=1, label=name)
    for place, row in zip(at, rows, strict=True):
        if row[f"{name}_low"] is not None:
            axes.plot([place] * 2, [row[f"{name}_low"], row[f"{name}_high"]], color=colour, linewidth=0.8)
