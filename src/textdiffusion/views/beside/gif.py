"""An animation of several texts: a picture for each change, shown as long as it lasted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image

from ..cells import joined, visible
from ..fonts import FontChain, choose_files
from ..gif import LEGEND_SIZE, write_gif
from ..painting import (
    LEGEND_TEXT,
    MARGIN,
    PAPER,
    Box,
    Drawing,
    Panel,
    fitting,
    head_height,
    paint,
    paint_legend,
    paint_words,
    palette,
)
from .comparison import HOLD, Comparison, Contestant

TICK = 0.02
"""Seconds; browsers show no picture of a GIF for less."""
_GAP = 10


def panels_of(contestant: Contestant) -> list[Panel]:
    """A titled panel for each snapshot."""
    trace = contestant.trace
    return [
        Panel(contestant.state(i), contestant.done(i), trace.cells(i)) for i in range(len(trace.snapshots))
    ]


def pictures(comparison: Comparison, drawing: Drawing) -> Iterator[tuple[Image.Image, int]]:
    """The pictures of the animation, each with the milliseconds that it is shown.

    Raises:
        DataError: no font has a character of the finished texts.
    """
    sheet = _Sheet.of(comparison, drawing)
    moments = comparison.moments(TICK)
    ends = [after.tick - now.tick for now, after in pairwise(moments)]
    shown: tuple[int, ...] | None = None
    image, colours = Image.new("RGB", (sheet.width, sheet.height), PAPER), palette()
    for moment, ticks in zip(moments, [*ends, round(HOLD / TICK)], strict=True):
        for number, index in enumerate(moment.indices):
            if shown is None or shown[number] != index:
                image.paste(sheet.strip(number, index), (0, number * sheet.strip_height))
        image.paste(sheet.foot(moment.tick * TICK * comparison.speed), (0, sheet.height - sheet.foot_height))
        shown = moment.indices
        yield image.quantize(palette=colours, dither=Image.Dither.NONE), round(1000 * TICK * ticks)


def save_gif(comparison: Comparison, path: Path, drawing: Drawing) -> None:
    """Write the animation, whole or not at all; it repeats for ever.

    Raises:
        DataError: no font has a character of the finished texts, or the folder is not writable.
    """
    images, milliseconds = zip(*pictures(comparison, drawing), strict=True)
    write_gif(images, list(milliseconds), path)


@dataclass(frozen=True)
class _Sheet:
    """Where everything stands: a strip for each text, one below the other, and below them the legend."""

    comparison: Comparison
    panels: Sequence[Sequence[Panel]]
    width: int
    height: int
    strip_height: int
    foot_height: int
    box: Box
    """Of the panel within its strip."""
    title_fonts: FontChain
    fonts: FontChain
    small: FontChain

    @classmethod
    def of(cls, comparison: Comparison, drawing: Drawing) -> "_Sheet":
        panels = [panels_of(contestant) for contestant in comparison.contestants]
        files = _files(comparison, panels, drawing.font_path)
        title_fonts, small = FontChain(files, drawing.font_size), FontChain(files, LEGEND_SIZE)
        foot_height = 2 * (small.line_height + 6)
        strip_height = (drawing.height - foot_height - _GAP) // len(panels)
        top = _GAP + title_fonts.line_height + 4
        box = Box(MARGIN, top, drawing.width - 2 * MARGIN, strip_height - top)
        fonts = fitting(
            [panel for row in panels for panel in row],
            files,
            largest=drawing.font_size,
            width=box.width,
            height=box.height - head_height(title_fonts),
        )
        sizes = (drawing.width, drawing.height, strip_height, foot_height)
        return cls(comparison, panels, *sizes, box, title_fonts, fonts, small)

    def foot(self, seconds: float) -> Image.Image:
        """What stands below the texts: the clock, and what the colours mean."""
        image = Image.new("RGB", (self.width, self.foot_height), PAPER)
        clock = self.comparison.clock(seconds)
        paint_words(image, MARGIN, 0, clock, self.small, width=self.box.width)
        paint_legend(image, MARGIN, self.foot_height // 2, self.small)
        return image

    def strip(self, number: int, index: int) -> Image.Image:
        """The text of contestant `number` at snapshot `index`, with what stands above it."""
        image = Image.new("RGB", (self.width, self.strip_height), PAPER)
        label = self.comparison.contestants[number].label
        paint_words(image, MARGIN, _GAP, label, self.title_fonts, width=self.box.width)
        paint(image, self.box, self.panels[number][index], title_fonts=self.title_fonts, fonts=self.fonts)
        return image


def _files(
    comparison: Comparison, panels: Sequence[Sequence[Panel]], font_path: Path | None
) -> tuple[Path, ...]:
    """Fonts for all that is said and for the finished texts, and if possible for all on the way."""
    words = [comparison.clock(0.123456789), LEGEND_TEXT, *(each.label for each in comparison.contestants)]
    words += [panel.title for row in panels for panel in row]
    words += [visible(joined(row[-1].cells)) for row in panels]
    passing = "".join(visible(joined(panel.cells)) for row in panels for panel in row)
    return choose_files("".join(words), passing, font_path)
