"""A text beside its damaged form, in units of tokens that tell which token should be what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ...tokens import TextFormat


@dataclass(frozen=True)
class Count:
    """Tokens of the text as it was."""

    tokens: int = 0
    damaged: int = 0
    """Of them, those that the draft has not."""
    restored: int = 0
    """Of the damaged, those that the revision has again."""
    broken: int = 0
    """Of the others, those that the revision has no longer."""

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.tokens + other.tokens,
            self.damaged + other.damaged,
            self.restored + other.restored,
            self.broken + other.broken,
        )


@dataclass(frozen=True)
class Unit:
    """A stretch of the text, and what stands in its place in the draft."""

    right: tuple[int, ...]
    found: tuple[int, ...]

    def count(self, now: Sequence[int], decode: Callable[[Sequence[int]], str]) -> Count:
        """What a revision that has `now` in its place has made of it.

        Tokens are compared place by place. A damage that changed how many there are leaves no such places:
        all of the unit is damaged then, and restored only if it reads as it did.
        """
        number = len(self.right)
        again = tuple(now) == self.right or decode(now) == decode(self.right)
        if len(self.found) != number:
            return Count(number, number, number * again)
        wrong = [old != new for old, new in zip(self.right, self.found, strict=True)]
        kept = [again or old == new for old, new in zip(self.right, now, strict=True)]
        restored = sum(was and is_right for was, is_right in zip(wrong, kept, strict=True))
        return Count(number, sum(wrong), restored, number - sum(wrong) - (sum(kept) - restored))


def units_of(pieces: Sequence[tuple[str, str]], text_format: TextFormat) -> list[Unit]:
    """The units of a text, given in pieces that stand beside what has become of them.

    Both texts are read whole, as their tokens hang on what stands beside them; a unit ends where in both of
    them a piece and a token do. A token that reaches over the edge of a piece so joins it with the next.
    """
    sides = [_Side.of("".join(side), text_format) for side in zip(*pieces, strict=True)]
    ends = [list(accumulate(map(len, side))) for side in zip(*pieces, strict=True)]
    cuts = [
        (a, b)
        for a, b in zip(*(map(side.cut, end) for side, end in zip(sides, ends, strict=True)), strict=True)
        if a is not None and b is not None
    ]
    right, found = sides
    edges = [(0, 0), *cuts[:-1], (len(right.ids), len(found.ids))]
    units = [Unit(right.ids[a:c], found.ids[b:d]) for (a, b), (c, d) in pairwise(edges) if a < c or b < d]
    return units


@dataclass(frozen=True)
class _Side:
    """One of the two texts."""

    text: str
    ids: tuple[int, ...]
    begins: dict[int, int]
    """The number of a token by where in the text its first character is that is no space.

    Some tokens carry the space before them, others that behind them, and to some it is nothing.
    """

    @classmethod
    def of(cls, text: str, text_format: TextFormat) -> "_Side":
        head = int(text_format.begin_id is not None)
        pieces = text_format.given(text, holes=False)[head:]
        places = [0, *accumulate(map(len, pieces))]
        begins = dict[int, int]()
        for number, place in reversed(list(enumerate(places))):
            begins[_no_space(text, place)] = number
        return cls(text, tuple(text_format.prompt(text)[head:]), begins)

    def cut(self, place: int) -> int | None:
        """The token that begins there, if one does."""
        return self.begins.get(_no_space(self.text, place))


def _no_space(text: str, place: int) -> int:
    return len(text) - len(text[place:].lstrip())
