"""An interpolated Kneser-Ney n-gram model over token ids: the bar that a neural bound has to clear."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class _Order:
    """Counts of one order: sorted n-grams with discounted counts, and their contexts."""

    grams: Ids
    discounted: NDArray[np.float64]
    contexts: Ids
    totals: NDArray[np.float64]
    freed: NDArray[np.float64]
    """Mass that discounting freed in each context, for the next lower order."""


class NGram:
    """Modified Kneser-Ney smoothing (Chen and Goodman, 1999), all orders interpolated down to the uniform."""

    def __init__(self, ids: NDArray[np.integer], order: int = 5, *, vocab: int) -> None:
        """Count a stream of token ids; `order` times the bits of an id must fit in 64."""
        self.bits = max(1, int(vocab - 1).bit_length())
        if order * self.bits > 64:
            raise ValueError(f"{order}-grams of {vocab} tokens do not fit in 64 bits; use a lower order.")
        self.order, self.vocab = order, vocab
        grams, counts = np.unique(self._windows(ids.astype(np.uint64), order), return_counts=True)
        self.orders: dict[int, _Order] = {}
        for n in range(order, 0, -1):
            self.orders[n] = self._smoothed(grams, counts)
            if n > 1:  # lower orders count in how many contexts a gram continues, not how often it occurs
                mask = np.uint64((1 << (self.bits * (n - 1))) - 1)
                grams, counts = np.unique(grams & mask, return_counts=True)

    def log_probabilities(self, ids: NDArray[np.integer], start: int) -> NDArray[np.float64]:
        """Natural log probability of each id given those before it; `start` stands before the first."""
        padded = np.concatenate([np.full(self.order - 1, start, np.uint64), ids.astype(np.uint64)])
        p = np.full(len(ids), 1.0 / self.vocab)
        for n in range(1, self.order + 1):
            keys, level = self._windows(padded[self.order - n :], n), self.orders[n]
            context, known = _find(level.contexts, keys >> np.uint64(self.bits))
            gram, seen = _find(level.grams, keys)
            count = np.where(seen, level.discounted[gram], 0.0)
            p = np.where(known, (count + level.freed[context] * p) / level.totals[context], p)
        return np.log(p)

    def _windows(self, ids: Ids, n: int) -> Ids:
        keys = np.zeros(len(ids) - n + 1, np.uint64)
        for i in range(n):
            keys = (keys << np.uint64(self.bits)) | ids[i : len(ids) - n + 1 + i]
        return keys

    def _smoothed(self, grams: Ids, counts: NDArray[np.integer]) -> _Order:
        seen = [int((counts == k).sum()) for k in (1, 2, 3, 4)]
        y = seen[0] / max(1, seen[0] + 2 * seen[1])
        steps = [max(0.05, k - (k + 1) * y * seen[k] / max(1, seen[k - 1])) for k in (1, 2, 3)]
        discount = np.array([0.0, *steps])[np.minimum(counts, 3)]
        contexts, begins = np.unique(grams >> np.uint64(self.bits), return_index=True)
        return _Order(
            grams,
            counts - discount,
            contexts,
            np.add.reduceat(counts, begins).astype(np.float64),
            np.add.reduceat(discount, begins),
        )


def _find(table: Ids, keys: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    index = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return index, table[index] == keys
