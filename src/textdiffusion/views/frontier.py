"""What ways of writing are worth against what they cost, in one picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plotting import new_figure, save_figure

_MOST_LABELS = 40
_WIDE = 3.0
"""A range of values above which they are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Point:
    """One way of writing."""

    group: str
    """Ways of one group have one colour."""
    label: str
    """Stands beside it; what tells it apart in its group."""
    calls: float
    """Network calls for a text."""
    seconds: float
    """For a text."""
    value: float
    """The figure that says how good it is."""
    entropy: float | None = None
    """Of the tokens of a text, in nats."""
    low: float | None = None
    """Lower end of the interval of the value."""
    high: float | None = None
    fair: bool = True
    """Whether the value can be believed; a hollow point if not."""
    line: str = ""
    """Points of one line compete with each other."""
    best_by_calls: bool = False
    """No other fair one of its line is both cheaper and better."""
    best_by_seconds: bool = False


@dataclass(frozen=True)
class Norm:
    """Human text, which costs nothing."""

    value: float
    low: float | None = None
    high: float | None = None
    entropy: float | None = None


@dataclass(frozen=True)
class _Panel:
    """One of the axes along which the value is drawn."""

    title: str
    of: Callable[[Point], float | None]
    best: Callable[[Point], bool] | None
    """Points that their line goes through."""


_PANELS = (
    _Panel("network calls for a text", lambda point: point.calls, lambda point: point.best_by_calls),
    _Panel("seconds for a text", lambda point: point.seconds, lambda point: point.best_by_seconds),
)
_ENTROPY = _Panel("entropy of a text's tokens, nats", lambda point: point.entropy, None)


def save_frontier(path: Path, points: Sequence[Point], human: Norm, named: str) -> None:
    """Draw the value against calls, against seconds, and against entropy where that is known.

    Lines go through the points that are best for their cost. Hollow points are those whose
    value cannot be believed; no line goes through them.

    Raises:
        DataError: the file cannot be written.
    """
    known = human.entropy is not None and all(point.entropy is not None for point in points)
    panels = (*_PANELS, _ENTROPY) if known else _PANELS
    figure = new_figure(5.2 * len(panels), 4.8)
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        _draw(axes, panel, points, human)
    first = figure.axes[0]
    first.set_ylabel(named)
    _scale(first.set_yscale, first.yaxis, [point.value for point in points] + [human.value])
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), fontsize=8)
    save_figure(figure, path)


def _draw(axes: Any, panel: _Panel, points: Sequence[Point], human: Norm) -> None:
    groups = {group: f"C{n % 10}" for n, group in enumerate(dict.fromkeys(p.group for p in points))}
    for point in points:
        _mark(axes, panel, point, groups[point.group])
    for group, colour in groups.items():
        axes.plot([], [], "o", color=colour, label=group)
    for line in dict.fromkeys(point.line for point in points):
        _join(axes, panel, [point for point in points if point.line == line], groups)
    if human.low is not None and human.high is not None:
        axes.axhspan(human.low, human.high, color="grey", alpha=0.15, linewidth=0)
    axes.axhline(human.value, color="grey", linewidth=0.9, linestyle="--", label="human text")
    if panel.best is None:
        axes.axvline(human.entropy, color="grey", linewidth=0.9, linestyle="--")
    else:
        _scale(axes.set_xscale, axes.xaxis, [panel.of(point) or 0.0 for point in points])
    axes.set_xlabel(panel.title)
    axes.grid(alpha=0.25)
    axes.margins(x=0.15)
    if len(points) <= _MOST_LABELS:
        for point in points:
            place = (panel.of(point), point.value)
            note = axes.annotate(
                point.label, place, xytext=(4, 3), textcoords="offset points", fontsize=6, clip_on=True
            )
            note.set_in_layout(False)  # a long one takes no room from the axes


def _scale(set_scale: Callable[[str], None], axis: Any, values: Sequence[float]) -> None:
    """Equal steps for equal ratios where the values are far apart, with numbers that can be read."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if min(values) <= 0.0 or max(values) < _WIDE * min(values):
        return
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _mark(axes: Any, panel: _Panel, point: Point, colour: str) -> None:
    place = panel.of(point)
    if point.low is not None and point.high is not None:
        axes.plot([place, place], [point.low, point.high], color=colour, linewidth=0.8, alpha=0.6)
    inside = colour if point.fair else "white"
    axes.plot([place], [point.value], "o", color=colour, markerfacecolor=inside, markersize=5, zorder=3)


def _join(axes: Any, panel: _Panel, rivals: Sequence[Point], colours: Mapping[str, str]) -> None:
    """The line through the best of some points, in their colour if they have one."""
    if panel.best is None:
        return
    best = sorted(filter(panel.best, rivals), key=lambda point: panel.of(point) or 0.0)
    groups = {point.group for point in rivals}
    colour = colours[rivals[0].group] if len(groups) == 1 else "black"
    axes.plot([panel.of(p) for p in best], [p.value for p in best], color=colour, linewidth=0.8)
