"""The points of a frontier, and their picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


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


def scatter(points: Sequence[Point], real: Point, path: Path) -> None:
    """Nats before the judge against calls and against seconds; one colour a model, one line its frontier."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axes, axis in zip(panels, ("calls", "seconds"), strict=True):
        for number, model in enumerate(dict.fromkeys(point.model for point in points)):
            own = [point for point in points if point.model == model]
            across = [getattr(point, axis) for point in own]
            colour = f"C{number}"
            axes.scatter(across, [point.nll for point in own], s=14, color=colour, alpha=0.55, label=model)
            best = _frontier(own, axis)
            axes.plot([getattr(p, axis) for p in best], [p.nll for p in best], color=colour, linewidth=1)
        axes.axhline(real.nll, color="grey", linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        axes.set_xlabel({"calls": "network calls for a text", "seconds": "seconds for a text"}[axis])
    panels[0].set_ylabel("nats per token before the judge")
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _frontier(points: Sequence[Point], axis: str) -> list[Point]:
    """Those than which none is both cheaper and better."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: getattr(p, axis)):
        if not found or point.nll < found[-1].nll:
            found.append(point)
    return found
