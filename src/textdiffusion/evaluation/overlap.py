"""Whether texts that are measured stand in the training text too, word for word or nearly."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

WORDS, CHARACTERS = 8, 13
"""Length of the pieces that are compared, in words, or in characters where a script has no spaces."""
NEAR = 0.5
"""Share of a text's pieces that a single training document must hold to be nearly the same."""
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""A character of a script without spaces."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """How many of the measured texts the training text holds."""

    texts: int
    """Texts that were looked for."""
    exact: frozenset[int]
    """Numbers of those with the same words in the same order; case, spaces and punctuation are left aside."""
    near: frozenset[int]
    """Numbers of others, at least half of whose pieces stand in one training document."""
    searched: int
    """Training documents that were looked through."""

    @property
    def count(self) -> int:
        """Texts found, exactly or nearly."""
        return len(self.exact) + len(self.near)


def find_overlap(texts: Sequence[str], training: Iterable[str], limit: int | None = None) -> Overlap:
    """Look for texts in the first `limit` training documents, which are read one at a time.

    Kept in memory are the hashes of the measured texts alone.
    """
    holders: dict[int, list[int]] = {}
    sizes, whole = list[int](), dict[tuple[str, ...], list[int]]()
    for number, text in enumerate(texts):
        units = units_of(text)
        whole.setdefault(units, []).append(number)
        pieces = set(pieces_of(units))
        sizes.append(len(pieces))
        for piece in pieces:
            holders.setdefault(piece, []).append(number)
    exact, near, searched = set[int](), set[int](), 0
    for document in islice(training, limit):
        searched += 1
        units = units_of(document)
        exact.update(whole.get(units, ()))
        common = holders.keys() & set(pieces_of(units))
        held = Counter(number for piece in common for number in holders[piece])
        near.update(number for number, count in held.items() if count >= NEAR * sizes[number])
    return Overlap(len(texts), frozenset(exact), frozenset(near - exact), searched)


def units_of(text: str) -> tuple[str, ...]:
    """The words of a text, or its characters where most of it is in a script without spaces."""
    words = tuple(_WORD.findall(text.casefold()))
    joined = "".join(words)
    return tuple(joined) if 2 * len(UNSPACED.findall(joined)) > len(joined) else words


def pieces_of(units: Sequence[str]) -> Iterator[int]:
    """A hash of each run of so many units; of all of them where there are no more."""
    size = size_of(units)
    for start in range(max(1, len(units) - size + 1)):
        yield hash(tuple(units[start : start + size]))


def size_of(units: Sequence[str]) -> int:
    """How many units a piece has."""
    return CHARACTERS if all(len(unit) == 1 for unit in units) else WORDS
