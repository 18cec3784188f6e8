"""Which part of the canvas is written when: all of it, or blocks from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..canvas import Canvas
from ..errors import SettingsError
from ..shapes import Where
from .decoding import Decoding


@dataclass(frozen=True)
class Window:
    """Positions that are written together, and in how many steps."""

    where: Where
    steps: int
    one_per_call: bool


def plan(canvas: Canvas, decoding: Decoding, *, one_per_call: bool) -> Sequence[Window]:
    """The windows of a generation in order.

    Blocks are counted over the editable positions of each text, so that texts with prompts of unequal length
    begin and end their blocks together. The steps are shared out among the blocks by size, at least one each.

    Raises:
        SettingsError: nothing is editable.
    """
    most = int(canvas.editable.sum(1).max())
    if most == 0:
        raise SettingsError("there is nothing to write: the text has no hole and the length is 0.")
    size = decoding.block_size or most
    order = canvas.editable.long().cumsum(1) - 1
    starts = range(0, most, size)
    sizes = [min(size, most - start) for start in starts]
    steps = sizes if one_per_call or decoding.steps is None else _share(decoding.steps, sizes)
    return [
        Window(canvas.editable & (order >= start) & (order < start + size), count, one_per_call)
        for start, count in zip(starts, steps, strict=True)
    ]


def _share(steps: int, sizes: Sequence[int]) -> list[int]:
    """Steps for each block in proportion to its size, as even as can be."""
    edges = torch.tensor([0, *sizes]).cumsum(0) * steps / sum(sizes)
    return [max(1, int(n)) for n in edges.round().diff().tolist()]
