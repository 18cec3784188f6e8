"""Everything that shows how a text condensed; all views draw the same cells."""

from collections.abc import Callable, Mapping
from pathlib import Path

from .cells import Cell, Kind
from .files import writer_for
from .painting import Drawing
from .trace import Trace

__all__ = ["SAVERS", "Cell", "Drawing", "Kind", "Saver", "Trace", "saver_for"]

Saver = Callable[[Trace, Path, Drawing], None]


def _save_json(trace: Trace, path: Path, drawing: Drawing) -> None:
    trace.save(path)


def _save_html(trace: Trace, path: Path, drawing: Drawing) -> None:
    from .html import save_html

    save_html(trace, path)


def _save_gif(trace: Trace, path: Path, drawing: Drawing) -> None:
    from .gif import save_gif

    save_gif(trace, path, drawing)


def _save_png(trace: Trace, path: Path, drawing: Drawing) -> None:
    from .png import save_png

    save_png(trace, path, drawing)


SAVERS: Mapping[str, Saver] = {".json": _save_json, ".gif": _save_gif, ".html": _save_html, ".png": _save_png}
"""Writers by the ending of the file."""


def saver_for(path: Path) -> Saver:
    """The writer for `path`; ask before the text is made, so that a slip costs nothing.

    Raises:
        SettingsError: nothing is written in files of that ending.
        DataError: the folder does not exist.
    """
    return writer_for(path, SAVERS)
