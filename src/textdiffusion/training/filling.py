"""What stands behind the end of a text and is learnt: how much of it a step shows, and steps on ends alone.

Both hang on the number of the optimiser step and on nothing else: not on samples, loader workers, processes
or micro-batches.
"""

import math
from typing import Any

from ..shapes import PerText
from .collate import FILLERS, IGNORED

_ROUNDING = 1e-6
"""What a product may lack of a whole number that it means."""


def shown_share(step: int, share: float, annealing: int) -> float:
    """Share of fillers among the tokens that may be noised: from 0 at step 0 to `share` at `annealing`."""
    return share if step >= annealing else share * step / annealing


def is_end_step(step: int, share: float) -> bool:
    """Whether a step learns where texts end instead; a `share` of the steps does, evenly spread."""
    return math.floor((step + 1) * share + _ROUNDING) > math.floor(step * share + _ROUNDING)


def hide_fillers(batch: dict[str, Any], share: float, part: PerText | None = None) -> None:
    """Turn some of the fillers of each row of a batch into padding, which is never seen.

    With a share q and T learnt tokens of text, the first q/(1 - q) T right behind the end are left, or all if
    q is 1; of these again a `part` in each row, from none at 0 to all at 1. If some padding could be seen it
    would tell where the text ends, which nothing does when a text is written. Columns that are then empty in
    all rows are cut off.
    """
    fillers = batch.pop(FILLERS, None)
    if fillers is None or (share >= 1.0 and part is None):
        return
    there = fillers.sum(1)
    learnt = ((batch["labels"] != IGNORED) & ~fillers).sum(1)
    left = there.double()
    if share < 1.0:
        left = (share / (1.0 - share) * learnt.double() + _ROUNDING).floor().minimum(left)
    if part is not None:
        left = (part.to(left.device) * (left + 1)).floor().minimum(left)
    hidden = fillers & (fillers.cumsum(1) > left[:, None])
    batch["attention_mask"] = batch["attention_mask"].masked_fill(hidden, 0)
    batch["labels"] = batch["labels"].masked_fill(hidden, IGNORED)
    width = int(batch["attention_mask"].sum(1).max())
    for name in ("input_ids", "attention_mask", "labels"):
        batch[name] = batch[name][:, :width]
