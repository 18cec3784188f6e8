"""What all plots share: the drawing library, which may be absent, and files written whole."""

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .files import write_whole

ENDINGS = (".png", ".svg", ".pdf")
"""Of files that plots are drawn in."""


def require_matplotlib() -> None:
    """Raise SettingsError where the drawing library is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("drawing needs matplotlib; install textdiffusion[plots], or leave --save out.")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, without pyplot, so that no screen is needed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format that the ending names, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    write_whole(path, drawn(figure, path.suffix[1:].lower()))


def drawn(figure: Any, kind: str) -> bytes:
    """A figure as the contents of a file of that kind, such as `png`."""
    found = BytesIO()
    figure.savefig(found, format=kind, dpi=150)
    return found.getvalue()
