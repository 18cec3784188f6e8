"""Much work in batches of texts of like length, in smaller ones when the memory does not hold them."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

TOKENS_AT_ONCE = 8192
"""Tokens in a network call, padding included."""


def in_batches(
    work: Callable[[Sequence[int]], Sequence[_Result]],
    sizes: Sequence[int],
    most: int = TOKENS_AT_ONCE,
    *,
    progress: Callable[[float], None] | None = None,
) -> list[_Result]:
    """The result for each item, in order; `work` is given the numbers of some items and answers for these.

    Items go together by their `sizes` in tokens, the longest first, as many as are `most` tokens when padded
    to the longest of them; at least one. When the memory does not hold a batch, it is halved from then on,
    which is logged. `progress` is told the share of the tokens that is done.

    Raises:
        RuntimeError: what `work` raises; out of memory only for a single item.
    """
    lengths = np.asarray(sizes, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable").tolist()
    found: dict[int, _Result] = {}
    total, done, begin = max(1, int(lengths.sum())), 0, 0
    while begin < len(order):
        width = max(1, int(lengths[order[begin]]))
        rows = order[begin : begin + max(1, most // width)]
        results = _tried(work, rows)
        if results is None:
            most = width * (len(rows) // 2)
            clear_device_cache(garbage_collection=True)
            logger.warning("out of memory with %d texts at once; going on with %d", len(rows), len(rows) // 2)
            continue
        found |= zip(rows, results, strict=True)
        begin, done = begin + len(rows), done + int(lengths[rows].sum())
        if progress is not None:
            progress(done / total)
    return [found[number] for number in range(len(order))]


def _tried(
    work: Callable[[Sequence[int]], Sequence[_Result]], rows: Sequence[int]
) -> Sequence[_Result] | None:
    """The results, or None where several rows were too many for the memory."""
    try:
        return work(rows)
    except RuntimeError as error:
        memory = isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
        if not memory or len(rows) == 1:
            raise
    return None  # outside the handler, which holds on to what filled the memory
