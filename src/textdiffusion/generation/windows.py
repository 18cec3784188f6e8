"""Which part of the canvas is written when: all of it, or blocks from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch

from ..canvas import Canvas
from ..errors import SettingsError
from ..shapes import Where
from .decoding import Decoding


@dataclass(frozen=True)
class Window:
    """Positions that are written together, and in how many steps."""

    where: Where
    steps: Sequence[int]
    """Steps for each text; 0 where the text has nothing in this window."""
    one_per_call: bool


def plan(canvas: Canvas, decoding: Decoding, *, one_per_call: bool) -> Sequence[Window]:
    """The windows of a generation in order.

    Blocks are counted over the editable positions of each text, so that texts with prompts of unequal length
    begin their blocks together. Each text shares out its steps among its blocks by size, at least one each,
    without regard to the rest of the batch: alone it would be written the same way.

    Raises:
        SettingsError: nothing is editable.
    """
    totals: list[int] = canvas.editable.sum(1).tolist()
    if not any(totals):
        raise SettingsError("there is nothing to write: the text has no hole and the length is 0.")
    size = decoding.block_size or max(totals)
    block = (canvas.editable.long().cumsum(1) - 1) // size
    sizes = [[min(size, total - start) for start in range(0, total, size)] for total in totals]
    steps = [row if one_per_call or decoding.steps is None else _share(decoding.steps, row) for row in sizes]
    return [
        Window(canvas.editable & (block == number), counts, one_per_call)
        for number, counts in enumerate(zip_longest(*steps, fillvalue=0))
    ]


def _share(steps: int, sizes: Sequence[int]) -> list[int]:
    """Steps for each block in proportion to its size, as even as can be."""
    edges = torch.tensor([0, *sizes]).cumsum(0) * steps / sum(sizes)
    return [max(1, int(n)) for n in edges.round().diff().tolist()]
