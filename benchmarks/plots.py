"""The points of a frontier, and their picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter


@dataclass(frozen=True)
class Point:
    """What one setting of one model reached."""

    model: str
    setting: str
    calls: float
    """Network calls for a text."""
    seconds: float
    """For a text, all texts of a batch written at once."""
    nll: float
    """Nats per token before the judge, given all tokens before it."""
    error: float
    """Its standard error over the texts."""
    entropy: float
    """Of the tokens of a text, in nats; the mean over the texts."""


def scatter(points: Sequence[Point], real: Point, path: Path, *, fair: Callable[[Point], bool]) -> None:
    """Nats before the judge against calls and against seconds; one colour a model, one line its frontier.

    Settings that are not `fair` are hollow, and no line goes through them.
    """
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axes, axis in zip(panels, ("calls", "seconds"), strict=True):
        for number, model in enumerate(dict.fromkeys(point.model for point in points)):
            own = [point for point in points if point.model == model]
            colour, good = f"C{number}", [point for point in own if fair(point)]
            rest = [point for point in own if not fair(point)]
            axes.scatter(*_places(good, axis), s=26, color=colour, label=model, zorder=3)
            axes.scatter(*_places(rest, axis), s=14, facecolors="none", edgecolors=colour, linewidths=0.7)
            axes.plot(*_places(_frontier(good, axis), axis), color=colour, linewidth=1)
        axes.axhline(real.nll, color="grey", linewidth=0.8, linestyle="--", label="the text itself")
        axes.set_xscale("log")
        axes.set_xlabel({"calls": "network calls for a text", "seconds": "seconds for a text"}[axis])
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("nats per token before the judge")
    panels[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _places(points: Sequence[Point], axis: str) -> tuple[list[float], list[float]]:
    return [getattr(point, axis) for point in points], [point.nll for point in points]


def _frontier(points: Sequence[Point], axis: str) -> list[Point]:
    """Those than which none is both cheaper and better."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: getattr(p, axis)):
        if not found or point.nll < found[-1].nll:
            found.append(point)
    return found
