"""Draw how masked diffusion is trained and how it writes, with the bundled model.

Left: a text as training shows it, at mask ratios from 0 to 1, its prompt always clean. Right: the same
prompt, continued from masks alone to a text.

python docs/figures/training_and_sampling.py docs/assets/training-and-sampling.png
"""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

import textdiffusion as td
from textdiffusion.cli.explore.masking import masked
from textdiffusion.cli.writing import reader_for
from textdiffusion.views.cells import masked_cells
from textdiffusion.views.files import write_whole
from textdiffusion.views.fonts import FontChain
from textdiffusion.views.painting import (
    LEGEND_TEXT,
    MARGIN,
    PAPER,
    Box,
    Drawing,
    Panel,
    chain_for,
    head_height,
    paint,
    paint_legend,
    paint_words,
)
from textdiffusion.views.pieces import split_pieces

PROMPT = "Once upon a time"
TEXT = " there was a little girl named Lily. She loved to play outside in the park with her red ball."
RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STEPS = 20
SEED = 4
HEADS = ("Training: a mask ratio is drawn for each text", "Sampling: from all masks to a text")
FONT, GAP, LINES = 15, 48, 3
COLOURS = 64
"""Of the picture that is saved; letters need no more."""


def main(path: Path) -> None:
    """Draw it and write the file."""
    lm = td.load()
    save(picture(training(lm), sampling(lm)), path)


def training(lm: td.DiffusionLM) -> list[Panel]:
    """The text at each ratio; the same places are struck first, so that the rows can be compared."""
    begin, given = lm.format.prompt(""), lm.format.prompt(PROMPT)
    ids, spared = lm.format.prompt(PROMPT + TEXT)[len(begin) :], len(given) - len(begin)
    pieces = [piece or "" for piece in split_pieces(ids, [False] * len(ids), lm.format.decode)]
    panels = []
    for ratio in RATIOS:
        hidden = masked(ids, ratio, spared, lm.format.mask_id, SEED).masked
        cells = masked_cells(pieces, hidden, prefix=spared)
        panels.append(Panel(f"mask ratio {ratio:g}", ratio, cells))
    return panels


def sampling(lm: td.DiffusionLM) -> list[Panel]:
    """As many moments of one generation, the first and the last among them."""
    length = len(lm.format.prompt(PROMPT + TEXT)) - len(lm.format.prompt(PROMPT))
    task = lm.continuation(
        [PROMPT], length=length, seeds=[SEED], decoding=lm.decoding(options={"steps": STEPS})
    )
    reader = reader_for(lm, task, 0)
    trace = reader.record(lm.stream(task), model=lm.name, sampler=task.decoding.sampler, seed=SEED)
    last = len(trace.snapshots) - 1
    moments = [round(last * number / (len(RATIOS) - 1)) for number in range(len(RATIOS))]
    return [
        Panel(f"step {trace.snapshots[moment].step} of {STEPS}", moment / last, trace.cells(moment))
        for moment in moments
    ]


def picture(left: Sequence[Panel], right: Sequence[Panel]) -> Image.Image:
    """Both columns under their heads, with what the colours mean below."""
    drawing = Drawing()
    files = chain_for([*left, *right, Panel(" ".join(HEADS) + LEGEND_TEXT, 1.0, right[-1].cells)], None)
    fonts, title_fonts, head_fonts = (FontChain(files, size) for size in (FONT, FONT - 2, FONT + 3))
    width = (drawing.width - 2 * MARGIN - GAP) // 2
    height = head_height(title_fonts) + LINES * fonts.line_height
    top = MARGIN // 2 + head_fonts.line_height + 16
    bottom = top + len(left) * height
    image = Image.new("RGB", (drawing.width, bottom + title_fonts.line_height + 16), PAPER)
    for column, (head, panels) in enumerate(zip(HEADS, (left, right), strict=True)):
        x = MARGIN + column * (width + GAP)
        paint_words(image, x, MARGIN // 2, head, head_fonts, width=width)
        for row, panel in enumerate(panels):
            box = Box(x, top + row * height, width, height)
            paint(image, box, panel, title_fonts=title_fonts, fonts=fonts)
    paint_legend(image, MARGIN, bottom, title_fonts)
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write it as a small PNG, whole or not at all."""
    buffer = BytesIO()
    image.quantize(COLOURS).save(buffer, "PNG", optimize=True)
    write_whole(path, buffer.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
