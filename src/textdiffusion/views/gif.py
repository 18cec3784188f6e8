"""An animation: one picture per step."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from .files import write_whole
from .fonts import FontChain
from .painting import (
    MARGIN,
    PAPER,
    Box,
    Drawing,
    Panel,
    chain_for,
    fitting,
    head_height,
    paint,
    paint_legend,
    palette,
)
from .trace import Trace

LEGEND_SIZE = 14
"""Pixels of the letters that say what the colours mean."""


def panels_of(trace: Trace) -> list[Panel]:
    """A titled panel per snapshot."""
    count = max(trace.steps, trace.snapshots[-1].step, 1)
    shares = [snapshot.step / count for snapshot in trace.snapshots]
    return [Panel(trace.title(i), share, trace.cells(i)) for i, share in enumerate(shares)]


def pictures(trace: Trace, drawing: Drawing) -> list[Image.Image]:
    """The frames of the animation, from noise to text, in colours of one palette.

    Raises:
        DataError: no font has a character of the finished text.
    """
    panels = panels_of(trace)
    files = chain_for(panels, drawing.font_path)
    title_fonts, small = FontChain(files, drawing.font_size), FontChain(files, LEGEND_SIZE)
    legend_top = drawing.height - small.line_height - 12
    box = Box(MARGIN, 14, drawing.width - 2 * MARGIN, legend_top - 14 - 8)
    room = box.height - head_height(title_fonts)
    fonts = fitting(panels, files, largest=drawing.font_size, width=box.width, height=room)
    colours = palette()
    frames = []
    for panel in panels:
        image = Image.new("RGB", (drawing.width, drawing.height), PAPER)
        paint(image, box, panel, title_fonts=title_fonts, fonts=fonts)
        paint_legend(image, MARGIN, legend_top, small)
        frames.append(image.quantize(palette=colours, dither=Image.Dither.NONE))
    return frames


def save_gif(trace: Trace, path: Path, drawing: Drawing) -> None:
    """Write the animation, whole or not at all; it repeats for ever.

    Raises:
        DataError: no font has a character of the finished text, or the folder is not writable.
    """
    write_gif(pictures(trace, drawing), drawing.milliseconds, path)


def write_gif(images: Sequence[Image.Image], milliseconds: int | list[int], path: Path) -> None:
    """Write pictures, each shown for so long, or for its own time, as an animation without end.

    Raises:
        DataError: the folder is not writable.
    """
    first, *others = images
    buffer = BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0, disposal=1)
    write_whole(path, buffer.getvalue())
