"""A contact sheet: up to twelve moments of a text side by side."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from .files import write_whole
from .fonts import FontChain
from .gif import panels_of
from .layout import wrap
from .painting import (
    MARGIN,
    PAPER,
    SMALLEST_FONT,
    Box,
    Drawing,
    Panel,
    chain_for,
    fitting,
    head_height,
    paint,
    paint_legend,
)
from .trace import Trace

MOST_PANELS = 12
_GAP = 32
_TALLEST = 420


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 ... count-1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def sheet(trace: Trace, drawing: Drawing) -> Image.Image:
    """The moments in reading order, with what the colours mean below.

    Raises:
        DataError: no font has a character of the finished text.
    """
    every = panels_of(trace)
    panels = [every[i] for i in evenly(len(every), MOST_PANELS)]
    files = chain_for(panels, drawing.font_path)
    columns = min(len(panels), 3)
    width = (drawing.width - 2 * MARGIN - (columns - 1) * _GAP) // columns
    size = max(SMALLEST_FONT, round(drawing.font_size * 0.7))
    title_fonts = FontChain(files, size)
    head = head_height(title_fonts)
    fonts = fitting(panels, files, largest=size, width=width, height=_TALLEST)
    heights = [head + _text_height(panel, width, fonts) for panel in panels]
    boxes, top = [], MARGIN // 2
    for start in range(0, len(panels), columns):
        height = max(heights[start : start + columns])
        boxes += [Box(MARGIN + i * (width + _GAP), top, width, height) for i in range(columns)]
        top += height + _GAP
    image = Image.new("RGB", (drawing.width, top + title_fonts.line_height + 16), PAPER)
    for panel, box in zip(panels, boxes, strict=False):
        paint(image, box, panel, title_fonts=title_fonts, fonts=fonts)
    paint_legend(image, MARGIN, top, title_fonts)
    return image


def _text_height(panel: Panel, width: int, fonts: FontChain) -> int:
    return min(_TALLEST, len(wrap(panel.cells, width, fonts.measure)) * fonts.line_height)


def save_png(trace: Trace, path: Path, drawing: Drawing) -> None:
    """Write the contact sheet, whole or not at all.

    Raises:
        DataError: no font has a character of the finished text, or the folder is not writable.
    """
    buffer = BytesIO()
    sheet(trace, drawing).save(buffer, "PNG", optimize=True)
    write_whole(path, buffer.getvalue())
