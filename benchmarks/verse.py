"""Verse by numbers: how long its lines are, which pairs of characters it has, and how much of it is copied.

Poems are texts of one line, with a stroke between their lines. The figures hang on how much text there is:
compare texts that had equal room, and as many of them.
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, pairwise

from textdiffusion.evaluation.variety import distinct_n

STROKE = "/"
RUN = 8
"""Characters in a row that are looked for in the training poems."""
_SIGNS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Copy:
    """How much of a text stands in the training poems; signs, spaces and line ends are left aside."""

    share: float
    """Of its runs of eight characters, those that stand in some training poem; 0 where it has none."""
    longest: int
    """Characters of its longest stretch that stands in one training poem; 0 where that is no such run."""


@dataclass(frozen=True)
class Figures:
    """Of a set of texts."""

    line: float
    """Characters of a line, in the mean."""
    distance: float
    """Characters by which lines are too long or too short, in the mean, against those of other verse."""
    known: float
    """Share of the pairs of characters that occur in other verse."""
    different: float
    """Share of different ones among all pairs."""
    copied: float
    """Share of the runs of eight characters that stand in a training poem, in the mean over the texts."""
    longest: int
    """Characters of the longest stretch that stands in one training poem."""


def line_lengths(texts: Iterable[str]) -> list[int]:
    """Characters of each line; the last of a text, which may be cut, and empty ones are left out."""
    lines = (line.strip() for text in texts for line in text.split(STROKE)[:-1])
    return [len(line) for line in lines if line]


def distance(lengths: Sequence[int], others: Sequence[int]) -> float:
    """The mean difference of two distributions, length for length in their order (Wasserstein, order 1).

    Infinite where there are none.
    """
    if not lengths or not others:
        return float("inf")
    longest = max(*lengths, *others)
    above = [_up_to(each, longest) for each in (lengths, others)]
    return sum(abs(one - other) for one, other in zip(*above, strict=True))


def _up_to(lengths: Sequence[int], longest: int) -> list[float]:
    """For each length the share of lines that are no longer."""
    counts = Counter(lengths)
    return [total / len(lengths) for total in accumulate(counts[length] for length in range(longest + 1))]


def pairs(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Neighbouring characters within the lines, signs included."""
    for text in texts:
        for line in text.split(STROKE):
            yield from pairwise(line.strip())


def copies(texts: Sequence[str], training: Iterable[str]) -> list[Copy]:
    """How much of each text stands in the training poems, which are read one at a time."""
    bare = [_SIGNS.sub("", text) for text in texts]
    owners: dict[str, set[int]] = {}
    for number, text in enumerate(bare):
        for run in _runs(text):
            owners.setdefault(run, set()).add(number)
    held, longest = set[str](), [0] * len(texts)
    for poem in (_SIGNS.sub("", poem) for poem in training):
        common = owners.keys() & set(_runs(poem))
        held |= common
        for number in {number for run in common for number in owners[run]}:
            match = SequenceMatcher(None, bare[number], poem, autojunk=False).find_longest_match()
            longest[number] = max(longest[number], match.size)
    return [
        Copy(sum(run in held for run in _runs(text)) / max(1, len(text) - RUN + 1), most)
        for text, most in zip(bare, longest, strict=True)
    ]


def _runs(text: str) -> Iterator[str]:
    for start in range(len(text) - RUN + 1):
        yield text[start : start + RUN]


def figures(texts: Sequence[str], found: Sequence[Copy], others: Sequence[str], room: int) -> Figures:
    """The figures of texts whose copies were found, against other verse, of which lines get the same room."""
    lengths, known, own = line_lengths(texts), set(pairs(others)), list(pairs(texts))
    return Figures(
        statistics.fmean(lengths) if lengths else 0.0,
        distance(lengths, line_lengths(text[:room] for text in others)),
        sum(pair in known for pair in own) / max(1, len(own)),
        distinct_n([own], 1),
        statistics.fmean(each.share for each in found),
        max(each.longest for each in found),
    )
