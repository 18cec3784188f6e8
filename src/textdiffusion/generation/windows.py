"""Which part of the canvas is written when: all of it, or blocks from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ..canvas import Canvas
from ..errors import SettingsError
from ..shapes import Where
from .decoding import Decoding
from .memory import Stretch


@dataclass(frozen=True)
class Window:
    """Positions that are written together, and in how many steps."""

    where: Where
    steps: Sequence[int]
    """Steps for each text; 0 where the text has nothing in this window."""
    one_per_call: bool
    block: Stretch
    """Columns that change together: the window's own, or the whole block of the grid that it is part of."""


def plan(
    canvas: Canvas, decoding: Decoding, *, one_per_call: bool, grid: int | None = None
) -> Sequence[Window]:
    """The windows of a generation in order.

    Without a `grid` blocks are counted over the editable positions of each text, so that texts with prompts
    of unequal length begin their blocks together. A network that was trained in blocks of `grid` tokens,
    counted from the first column, is written in these very blocks or in parts of them. Each text shares out
    its steps among its blocks by size, at least one each, without regard to the rest of the batch: alone it
    would be written the same way. Left out, the steps of a block are those that its tokens take.

    Raises:
        SettingsError: nothing is editable, or the blocks do not fit the grid.
    """
    totals: list[int] = canvas.editable.sum(1).tolist()
    if not any(totals):
        raise SettingsError("there is nothing to write: the text has no hole and the length is 0.")
    size = decoding.block_size
    number = _by_count(canvas, size) if grid is None else _along_grid(canvas, size or grid, grid)
    blocks: list[int] = sorted(set(number[canvas.editable].tolist()))
    parts = [canvas.editable & (number == block) for block in blocks]
    sizes = torch.stack([part.sum(1) for part in parts], dim=1).tolist()
    per_step = 1 if one_per_call else decoding.tokens_per_step
    steps = [
        [-(-own // per_step) for own in row]
        if one_per_call or decoding.steps is None
        else _share(decoding.steps, row)
        for row in sizes
    ]
    return [
        Window(part, counts, one_per_call, _block(part, grid, canvas.tokens.shape[1]))
        for part, counts in zip(parts, zip(*steps, strict=True), strict=True)
    ]


def _by_count(canvas: Canvas, size: int | None) -> Int[Tensor, "batch length"]:
    """The block of each editable position, counted from the first editable one of its text."""
    place = canvas.editable.long().cumsum(1) - 1
    return place // (size or canvas.tokens.shape[1])


def _along_grid(canvas: Canvas, size: int, grid: int) -> Int[Tensor, "batch length"]:
    """The block of each column."""
    if grid % size:
        raise SettingsError(
            f"block_size {size}: this network was trained in blocks of {grid} tokens; leave it out, or give "
            f"a number that divides {grid}."
        )
    return torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device).expand_as(canvas.tokens) // size


def _block(part: Where, grid: int | None, width: int) -> Stretch:
    columns = part.any(0).nonzero()[:, 0].tolist()
    if grid is None:
        return Stretch(columns[0], columns[-1] + 1)
    begin = columns[0] // grid * grid
    return Stretch(begin, min(begin + grid, width))


def _share(steps: int, sizes: Sequence[int]) -> list[int]:
    """Steps for each block in proportion to its size, as even as can be; none for an empty one."""
    edges = torch.tensor([0, *sizes]).cumsum(0) * steps / max(1, sum(sizes))
    counts = edges.round().diff().long().tolist()
    return [max(1, count) if size else 0 for count, size in zip(counts, sizes, strict=True)]
