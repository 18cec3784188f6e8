"""How trainings went, as a picture: losses and accuracies by step, and by noise level at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plotting import new_figure, save_figure

Curve = Sequence[tuple[float, float]]
"""Points of a line."""


@dataclass(frozen=True)
class Learning:
    """What is drawn of one training."""

    name: str
    losses: Curve
    """Nats per token by step, of the text that is learnt from."""
    held_out: Sequence[tuple[float, float, float]]
    """Step, nats per token and their standard error, of held-out text."""
    accuracies: Mapping[str, Curve]
    """Share of the masked tokens that were guessed right by step, by whose text it was."""
    levels: Curve
    """Nats per masked token by the share that was masked, at the end."""
    buckets: Curve
    """Accuracy by that share, at the end."""


def save_learning(path: Path, trainings: Sequence[Learning]) -> None:
    """Draw several trainings, a colour for each.

    Raises:
        DataError: the file cannot be written.
    """
    figure = new_figure(12.0, 8.0)
    (losses, levels), (accuracies, buckets) = figure.subplots(2, 2)
    for number, one in enumerate(trainings):
        colour = f"C{number % 10}"
        losses.plot(*_both(one.losses), color=colour, alpha=0.4, linewidth=1.0, label=f"{one.name}, learnt")
        steps, held, errors = zip(*one.held_out, strict=True) if one.held_out else ((), (), ())
        losses.errorbar(steps, held, errors, color=colour, marker="o", markersize=4, label=_held(one.name))
        for (whose, curve), line in zip(one.accuracies.items(), (":", "-"), strict=False):
            label = f"{one.name}, {whose}"
            accuracies.plot(*_both(curve), line, color=colour, marker=".", linewidth=1.0, label=label)
        for axes, curve in ((levels, one.levels), (buckets, one.buckets)):
            axes.plot(*_both(curve), "o-", color=colour, markersize=4, label=one.name)
    losses.set(title="Loss", xlabel="step", ylabel="nats per token")
    accuracies.set(title="Accuracy on masked tokens", xlabel="step", ylabel="share guessed right")
    levels.set(title="Loss by noise level, at the end", xlabel="share masked", ylabel="nats per masked token")
    buckets.set(
        title="Accuracy by noise level, at the end",
        xlabel="share masked, up to",
        ylabel="share guessed right",
    )
    for axes in (losses, accuracies, levels, buckets):
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    save_figure(figure, path)


def _held(name: str) -> str:
    return f"{name}, held out ± standard error"


def _both(curve: Curve) -> tuple[Sequence[Any], Sequence[Any]]:
    """The places and the values, which may be none."""
    return [place for place, _ in curve], [value for _, value in curve]
