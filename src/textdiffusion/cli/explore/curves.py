"""The curves of all step grids and noise schedules in one picture."""

import importlib.util
from io import BytesIO
from itertools import cycle
from pathlib import Path

import torch

from ...errors import SettingsError
from ...schedules import SCHEDULES, STEP_GRIDS
from ...views.files import write_whole
from ..schedules import STEPS

_POINTS = 201
_LINES = ("-", "--", "-.", ":")
"""Curves that nearly cover each other stay apart."""


def require_matplotlib() -> None:
    """Raise SettingsError where the drawing library is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("drawing needs matplotlib; install textdiffusion[plots], or leave --save out.")


def save_curves(path: Path) -> None:
    """Draw the noise left after each step, and alpha(t), and write the file whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot, so that no screen is needed

    figure = Figure(figsize=(11, 4.5), layout="constrained")
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
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, drawn.getvalue())
