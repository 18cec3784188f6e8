"""Several texts side by side, each of whose changes comes when it came: on one measured clock."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ..files import writer_for
from ..painting import Drawing
from .comparison import Comparison, Contestant, followable

__all__ = ["SAVERS", "Comparison", "Contestant", "Saver", "followable", "saver_for"]

Saver = Callable[[Comparison, Path, Drawing], None]


def _save_gif(comparison: Comparison, path: Path, drawing: Drawing) -> None:
    from .gif import save_gif

    save_gif(comparison, path, drawing)


def _save_html(comparison: Comparison, path: Path, drawing: Drawing) -> None:
    from .html import save_html

    save_html(comparison, path)


SAVERS: Mapping[str, Saver] = {".gif": _save_gif, ".html": _save_html}
"""Writers by the ending of the file."""


def saver_for(path: Path) -> Saver:
    """The writer for `path`; ask before the texts are made.

    Raises:
        SettingsError: nothing is written in files of that ending.
        DataError: the folder does not exist.
    """
    return writer_for(path, SAVERS)
