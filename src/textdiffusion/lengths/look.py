"""The first look: one call on the whole room, by which the canvas is cut before anything is written."""

import time
from dataclasses import dataclass

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..randomness import RowGenerator
from .base import LengthReader, cut


@dataclass(frozen=True)
class Look:
    """How much room each text needs, and what it cost to know."""

    rooms: tuple[int, ...]
    """New tokens of each text, its end included."""
    tokens: tuple[int, ...]
    """Tokens of each text that were read."""
    seconds: float
    calls: int = 1


def look(
    reader: LengthReader,
    denoiser: Denoiser,
    corruption: Corruption,
    canvas: Canvas,
    generator: RowGenerator,
    quantile: float,
) -> Look:
    """Read the lengths of the texts of a canvas, and the room that suffices each with this probability.

    No text's room depends on the others of the batch.
    """
    begin = time.perf_counter()
    ended = reader.distribution(denoiser, corruption, canvas, corruption.all_noise(canvas, generator))
    rooms = cut(ended, quantile).minimum(canvas.editable.sum(1)).tolist()
    return Look(tuple(rooms), tuple(canvas.valid.sum(1).tolist()), time.perf_counter() - begin)
