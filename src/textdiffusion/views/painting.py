"""Panels of text painted with Pillow; the GIF and the contact sheet are made of them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw

from ..errors import SettingsError
from .cells import Cell, Kind, joined, visible
from .fonts import FontChain, choose_files
from .layout import Line, Span, Width, wrap

PAPER = "#ffffff"
FAINT = "#e3e6ea"
TITLE = "#1b1f24"
BAR = "#2f6fdb"
INK: dict[Kind, str] = {"prompt": "#1f4fa8", "mask": "#676d74", "new": "#8a3b00", "settled": "#1b1f24"}
"""On paper each has a contrast of 4.5 or more, so that all of it can be read."""
HIGHLIGHT: dict[Kind, str] = {"prompt": "#e8effc", "new": "#ffe3b8"}
"""Kinds that stand on a colour, so that they differ without hue too."""

SMALLEST_FONT = 10
MARGIN = 40
_LEGEND: tuple[tuple[str, Kind], ...] = (
    ("given", "prompt"),
    ("__ still noise", "mask"),
    ("written in this step", "new"),
    ("written before", "settled"),
)
LEGEND_TEXT = "".join(text for text, _ in _LEGEND)
"""What the legend says, for the choice of fonts."""


@dataclass(frozen=True)
class Drawing:
    """How pictures (GIF and PNG) look."""

    font_path: Path | None = None
    """Font file to draw with; without it, fonts of this machine that have the characters are found."""
    font_size: int = 20
    """Largest font size in pixels; it shrinks, to 10 at least, when the text does not fit."""
    width: int = 1000
    """Pixels from left to right."""
    height: int = 600
    """Pixels from top to bottom of a GIF; a PNG is as high as its panels need."""
    milliseconds: int = 500
    """Time that each step of a GIF is shown."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.font_size < SMALLEST_FONT:
            raise SettingsError(f"font_size is {self.font_size}; it must be {SMALLEST_FONT} or more.")
        if not (300 <= self.width <= 4000 and 200 <= self.height <= 4000):
            given = f"{self.width} x {self.height}"
            raise SettingsError(f"The picture is {given} pixels; it must be 300-4000 x 200-4000.")
        if not 20 <= self.milliseconds <= 60_000:
            raise SettingsError(f"milliseconds is {self.milliseconds}; it must be between 20 and 60000.")


@dataclass(frozen=True)
class Panel:
    """A titled rectangle: title, bar of progress, text from the top left on."""

    title: str
    done: float
    """Share of the bar that is filled, in [0, 1]."""
    cells: list[Cell]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: int
    top: int
    width: int
    height: int


def chain_for(panels: Sequence[Panel], font_path: Path | None) -> tuple[Path, ...]:
    """Fonts for all panels: what the last one shows must be drawn, what passes by on the way should be.

    Raises:
        DataError: no font has a character of the last panel.
    """
    needed = "".join(panel.title for panel in panels) + visible(joined(panels[-1].cells))
    return choose_files(needed, visible("".join(joined(panel.cells) for panel in panels)), font_path)


def fitting(
    panels: Sequence[Panel], files: tuple[Path, ...], *, largest: int, width: int, height: int
) -> FontChain:
    """The largest font size at which the text of every panel fits into width x height pixels."""

    def fits(size: int) -> bool:
        fonts = FontChain(files, size)
        room = height // fonts.line_height
        return all(len(wrap(panel.cells, width, fonts.measure)) <= room for panel in panels)

    # From large to small nothing fits at first and everything then, so halving finds where it turns.
    sizes = range(largest, SMALLEST_FONT, -1)
    return FontChain(files, largest - bisect_left(sizes, True, key=fits))


def paint(image: Image.Image, box: Box, panel: Panel, *, title_fonts: FontChain, fonts: FontChain) -> None:
    """Paint `panel` into `box`; lines that do not fit are left out and an ellipsis says so."""
    draw = ImageDraw.Draw(image)
    head = title_fonts.line_height
    middle = box.left + (box.width - title_fonts.measure(panel.title)) / 2
    _write(draw, middle, box.top + title_fonts.ascent, panel.title, TITLE, title_fonts)
    bar = box.top + head + 4
    draw.rectangle((box.left, bar, box.left + box.width - 1, bar + 3), fill=FAINT)
    filled = round((box.width - 1) * min(panel.done, 1.0))
    if filled:
        draw.rectangle((box.left, bar, box.left + filled, bar + 3), fill=BAR)
    top = bar + 16
    room = (box.top + box.height - top) // fonts.line_height
    for number, line in enumerate(_cut(wrap(panel.cells, box.width, fonts.measure), room)):
        _paint_line(draw, box.left, top + number * fonts.line_height, line, fonts)


def paint_words(image: Image.Image, left: int, top: int, text: str, fonts: FontChain, *, width: int) -> None:
    """Paint one line of plain words, cut with an ellipsis where it is wider than `width` pixels."""
    shown, rest = text, text
    while fonts.measure(shown) > width and rest:
        rest = rest[:-1]
        shown = rest.rstrip() + "..."
    _write(ImageDraw.Draw(image), left, top + fonts.ascent, shown, TITLE, fonts)


def head_height(title_fonts: FontChain) -> int:
    """Pixels above the text of a panel."""
    return title_fonts.line_height + 20


def paint_legend(image: Image.Image, left: int, top: int, fonts: FontChain) -> None:
    """Say what the colours mean."""
    draw = ImageDraw.Draw(image)
    x: Width = left
    for text, kind in _LEGEND:
        _paint_line(draw, x, top, [Span(text, kind)], fonts)
        x += fonts.measure(text) + 24


def palette() -> Image.Image:
    """All colours of a panel with the blends at the edges of letters, for every frame of a GIF."""
    pairs = [(ink, HIGHLIGHT.get(kind, PAPER)) for kind, ink in INK.items()] + [(TITLE, PAPER), (BAR, FAINT)]
    colours = [_blend(ink, ground, step / 15) for ink, ground in pairs for step in range(16)]
    colours += [ImageColor.getrgb(name)[:3] for name in (PAPER, FAINT)]
    image = Image.new("P", (1, 1))
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def _blend(ink: str, ground: str, share: float) -> tuple[int, ...]:
    pairs = zip(ImageColor.getrgb(ink)[:3], ImageColor.getrgb(ground)[:3], strict=True)
    return tuple(round(a * (1 - share) + b * share) for a, b in pairs)


def _cut(lines: list[Line], room: int) -> list[Line]:
    if len(lines) <= room:
        return lines
    return [*lines[: max(room - 1, 0)], [Span("...", "mask")]]


def _paint_line(draw: ImageDraw.ImageDraw, left: Width, top: Width, line: Line, fonts: FontChain) -> None:
    x = left
    for i, span in enumerate(line):
        width = fonts.measure(span.text)
        ground = HIGHLIGHT.get(span.kind)
        around = {neighbour.kind for neighbour in (*line[max(0, i - 1) : i], *line[i + 1 : i + 2])}
        if ground is not None and (around == {span.kind} or not span.text.isspace()):
            draw.rectangle((x, top + 1, x + width, top + fonts.line_height - 2), fill=ground)
        _write(draw, x, top + fonts.ascent, span.text, INK[span.kind], fonts)
        x += width


def _write(
    draw: ImageDraw.ImageDraw, x: Width, baseline: Width, text: str, ink: str, fonts: FontChain
) -> None:
    for font, part in fonts.runs(text):
        draw.text((x, baseline), part, fill=ink, font=font, anchor="ls")
        x += font.getlength(part)
