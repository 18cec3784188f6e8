"""The curves of all step grids and noise schedules in one picture."""

from itertools import cycle
from pathlib import Path

import torch

from ...schedules import SCHEDULES, STEP_GRIDS
from ...views.plotting import new_figure, save_figure
from ..schedules import STEPS

_POINTS = 201
_LINES = ("-", "--", "-.", ":")
"""Curves that nearly cover each other stay apart."""


def save_curves(path: Path) -> None:
    """Draw the noise left after each step, and alpha(t), and write the file whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    figure = new_figure(11.0, 4.5)
    grids, noises = figure.subplots(1, 2)
    for name, grid in STEP_GRIDS.items():
        grids.plot(range(STEPS + 1), grid.rates(STEPS).tolist(), marker="o", markersize=3, label=name)
    grids.set(title=f"Step grids, {STEPS} steps", xlabel="steps taken", ylabel="share of noise")
    time = torch.linspace(0.0, 1.0, _POINTS, dtype=torch.float64)
    for (name, schedule), line in zip(SCHEDULES.items(), cycle(_LINES), strict=False):
        noises.plot(time.tolist(), schedule().alpha(time).tolist(), linestyle=line, label=name)
    noises.set(title="Noise schedules", xlabel="time t", ylabel="alpha(t), chance to be still clean")
    for axes in (grids, noises):
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)
