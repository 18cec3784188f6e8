"""How much of written text stands word for word in the training text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ..overlap import pieces_of, size_of, units_of


@dataclass(frozen=True)
class Copies:
    """Which pieces of some texts the training text holds."""

    held: frozenset[int]
    """Their hashes."""
    searched: int
    """Training documents that were looked through."""

    def share(self, text: str) -> float:
        """The share of its pieces, each of eight words, that stand there; nan for a shorter text."""
        held = self._held(text)
        return sum(held) / len(held) if held else math.nan

    def longest(self, text: str) -> float:
        """Words in its longest stretch all of whose pieces stand there, in one document or in several."""
        longest = run = 0
        for here in self._held(text):
            run = run + 1 if here else 0
            longest = max(longest, run)
        return float(longest + size_of(units_of(text)) - 1 if longest else 0)

    def _held(self, text: str) -> list[bool]:
        return [piece in self.held for piece in _pieces(text)]


def find_copies(texts: Iterable[str], training: Iterable[str], limit: int | None = None) -> Copies:
    """Look the pieces of texts up in the first `limit` training documents, which are read one at a time.

    A piece is eight words in a row, or thirteen characters where a script has no spaces; case, spaces and
    punctuation are left aside. Kept in memory are the hashes of the pieces of the texts alone.
    """
    wanted = {piece for text in texts for piece in _pieces(text)}
    held, searched = set[int](), 0
    for document in islice(training, limit):
        searched += 1
        held |= wanted.intersection(_pieces(document))
    return Copies(frozenset(held), searched)


def _pieces(text: str) -> Sequence[int]:
    """The pieces of a text in order; none where it is shorter than one."""
    units = units_of(text)
    return list(pieces_of(units)) if len(units) >= size_of(units) else []
