"""Which sentence stood before this one, which behind it: questions made of texts.

A model that reads from left to right knows p(next | previous), and ranks previous texts by p(previous, next),
which is p(previous | next) up to a factor that they share. A masked one is asked for either. Whether that
helps it is told by the same pairs both ways.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...data.sources import read_documents
from ..answers import Option
from .items import Choice
from .sentences import PIECES, Piece

OPTIONS = 4
"""Texts to choose from."""
_SHORTEST = 4
"""Characters of a piece that says anything."""


@dataclass(frozen=True)
class Pair:
    """Two pieces of a text that follow each other."""

    first: str
    second: str


def previous(kind: str) -> Callable[[str, str], Iterator[Choice]]:
    """Questions for the piece before a given one."""
    piece = PIECES[kind]
    return lambda source, split: _choices(
        _pairs(source, split, piece),
        lambda pair: pair.first,
        lambda pair, answer: Option("", answer, piece.between + pair.second),
    )


def following(kind: str) -> Callable[[str, str], Iterator[Choice]]:
    """Questions for the piece behind a given one."""
    piece = PIECES[kind]
    return lambda source, split: _choices(
        _pairs(source, split, piece),
        lambda pair: pair.second,
        lambda pair, answer: Option(pair.first, piece.between + answer),
    )


def _pairs(source: str, split: str, piece: Piece) -> list[Pair]:
    """The two pieces in the middle of each text."""
    found = list[Pair]()
    for text in read_documents(source, split=split):
        pieces = piece.split(text)
        middle = len(pieces) // 2
        two = pieces[max(0, middle - 1) :][:2]
        if len(two) == 2 and min(map(len, two)) >= _SHORTEST:
            found.append(Pair(*two))
    return found


def _choices(
    pairs: Sequence[Pair], asked: Callable[[Pair], str], option: Callable[[Pair, str], Option]
) -> Iterator[Choice]:
    """Each pair with the answers of the others that are nearest to its own in length, all of them different.

    Else a model that likes short texts would be right about these. The right answer takes each place in turn.
    """
    texts = [asked(pair) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda number: (len(texts[number]), number))
    place = {number: rank for rank, number in enumerate(order)}
    for number, pair in enumerate(pairs):
        answers = _nearest(texts, order, place[number])
        if len(answers) == OPTIONS:
            gold = number % OPTIONS
            answers[0], answers[gold] = answers[gold], answers[0]
            yield Choice(tuple(option(pair, answer) for answer in answers), gold)


def _nearest(texts: Sequence[str], order: Sequence[int], rank: int) -> list[str]:
    """The text of this rank and, behind it, the different ones nearest to it in the order of length."""
    found = [texts[order[rank]]]
    low, high = rank - 1, rank + 1
    while len(found) < OPTIONS and (low >= 0 or high < len(order)):
        below = low >= 0 and (
            high >= len(order)
            or len(found[0]) - len(texts[order[low]]) <= len(texts[order[high]]) - len(found[0])
        )
        other = texts[order[low if below else high]]
        low, high = (low - 1, high) if below else (low, high + 1)
        if other not in found:
            found.append(other)
    return found
