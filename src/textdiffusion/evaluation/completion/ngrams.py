"""n-grams of token ids, from which the chance of a next token is interpolated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float64]
"""A probability for each token of the vocabulary."""
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class NGrams:
    """How often what followed what, up to some length, in texts that are read from one side."""

    grams: Sequence[Counts]
    """For each length from 1 on the different n-grams, sorted, each one number in base `vocab`."""
    counts: Sequence[Counts]
    """How often each occurs."""
    vocab: int

    @classmethod
    def of(
        cls, texts: Iterable[Sequence[int]], vocab: int, order: int, *, backwards: bool = False
    ) -> "NGrams":
        """Count the n-grams up to `order` of texts; to `backwards` they are read from behind."""
        sign = -1 if backwards else 1
        rows = [np.asarray(text, dtype=np.int64)[::sign] for text in texts]
        grams, counts = [], []
        for length in range(1, order + 1):
            found = [_numbers(row, length, vocab) for row in rows if len(row) >= length]
            kinds, often = np.unique(np.concatenate([np.empty(0, np.int64), *found]), return_counts=True)
            grams.append(kinds)
            counts.append(often.astype(np.int64))
        return cls(grams, counts, vocab)

    @property
    def context(self) -> int:
        """Tokens before the next one that make a difference."""
        return len(self.grams) - 1

    def after(self, context: Sequence[int]) -> Chances:
        """The chance of each token after these, of which the last ones count.

        Each length is interpolated with the one below it by how many different tokens followed (Witten and
        Bell 1991), the shortest with an even chance of all; where a context never occurred, the shorter one
        is all there is.
        """
        found = np.full(self.vocab, 1.0 / self.vocab)
        known = list(context)[-self.context :] if self.context else []
        for length in range(len(known) + 1):
            before = _number(known[len(known) - length :], self.vocab)
            first, last = np.searchsorted(
                self.grams[length], [before * self.vocab, (before + 1) * self.vocab]
            )
            if first == last:
                break
            often = self.counts[length][first:last]
            found *= len(often)
            found[self.grams[length][first:last] - before * self.vocab] += often
            found /= len(often) + often.sum()
        return found


def _numbers(row: Counts, length: int, vocab: int) -> Counts:
    """The n-grams of a text, each as one number."""
    found = np.zeros(len(row) - length + 1, dtype=np.int64)
    for place in range(length):
        found = found * vocab + row[place : len(row) - length + 1 + place]
    return found


def _number(tokens: Sequence[int], vocab: int) -> int:
    found = 0
    for token in tokens:
        found = found * vocab + token
    return found
