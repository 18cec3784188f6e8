"""A text that is there already, as what a model may change of it, and back to text with the changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .canvas import Canvas
from .errors import SettingsError
from .shapes import Tokens
from .tokens import TextFormat

Decode = Callable[[Sequence[int]], str]
_NEIGHBOURS = 4
"""Ids before some others, by which a decoder shows whether a space stands between."""


@dataclass(frozen=True)
class Change:
    """A token of a draft that was replaced."""

    position: int
    """Its number among the tokens of the draft, from 0."""
    before: str
    after: str


@dataclass(frozen=True)
class Piece:
    """A part of a revised text."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Stretch:
    """Tokens of a draft that are read together, of which some may be written."""

    begin: int
    end: int
    """They stand from `begin` to before `end` of the draft's ids."""
    first: int
    last: int
    """From `first` to before `last` they may be written; what stands around them is context."""


@dataclass(frozen=True)
class Draft:
    """A draft as ids, cut into stretches that a model can hold."""

    text: str
    ids: tuple[int, ...]
    """All of them, with the begin and the end of a document."""
    stretches: tuple[Stretch, ...]
    text_format: TextFormat

    @classmethod
    def cut(cls, text: str, text_format: TextFormat, longest: int) -> "Draft":
        """A draft whose every token stands in one stretch of at most `longest`, with context on both sides.

        Raises:
            SettingsError: there is nothing to revise.
        """
        (ids,) = text_format.document([text])
        return cls._of(text, ids, text_format, longest)

    @classmethod
    def of_ids(cls, ids: Sequence[int], text_format: TextFormat, longest: int) -> "Draft":
        """The same of a text that is given as its ids, without begin and end, which its text may not tell.

        Raises:
            SettingsError: there is nothing to revise.
        """
        (none,) = text_format.document([""])
        head = int(text_format.begin_id is not None)
        return cls._of(text_format.decode(ids), [*none[:head], *ids, *none[head:]], text_format, longest)

    @classmethod
    def _of(cls, text: str, ids: Sequence[int], text_format: TextFormat, longest: int) -> "Draft":
        first = int(text_format.begin_id is not None)
        last = len(ids) - int(text_format.end_id is not None)
        if first == last:
            raise SettingsError("the draft is empty; give a text to revise.")
        return cls(text, tuple(ids), tuple(_stretches(first, last, len(ids), longest)), text_format)

    @property
    def canvas(self) -> Canvas:
        """A row for each stretch."""
        rows = [self.ids[part.begin : part.end] for part in self.stretches]
        free = [
            [part.first <= place < part.last for place in range(part.begin, part.end)]
            for part in self.stretches
        ]
        return Canvas.from_rows(rows, free, pad_id=self.text_format.pad_id)

    @property
    def first(self) -> int:
        """The first id that may be written; those before it are no text."""
        return self.stretches[0].first

    @property
    def last(self) -> int:
        """The place behind the last of them."""
        return self.stretches[-1].last

    def after(self, tokens: Tokens) -> list[int]:
        """The ids of the whole text, as `tokens`, a row for each stretch, have them."""
        found = list(self.ids)
        for row, part in zip(tokens.tolist(), self.stretches, strict=True):
            found[part.first : part.last] = row[part.first - part.begin : part.last - part.begin]
        return found

    def changes(self, ids: Sequence[int]) -> tuple[Change, ...]:
        """What is another token now."""
        given, decode = self._given(), self.text_format.decode
        return tuple(
            Change(place - self.first, given[place], decode([new]))
            for place, (old, new) in enumerate(zip(self.ids, ids, strict=True))
            if old != new
        )

    def pieces(self, ids: Sequence[int]) -> list[Piece]:
        """The revised text; what has not changed is as it was given, even where ids cannot say it exactly."""
        runs = list(_runs(self.ids, ids, self.first, self.last))
        decode = self.text_format.decode
        exact = decode(self.ids) == self.text
        return _whole(runs, ids, decode(ids), decode) if exact else self._patched(runs, ids)

    def _given(self) -> list[str]:
        """The text in pieces, one for each id up to the end; as it was given, where its ids are its own."""
        (own,) = self.text_format.document([self.text])
        if tuple(own) == self.ids:
            return self.text_format.given(self.text, holes=False)
        return [self.text_format.decode([id]) for id in self.ids[: self.last]]

    def _patched(self, runs: Sequence["_Run"], ids: Sequence[int]) -> list[Piece]:
        """New words among the old text, set off by spaces as their tokens want it."""
        given, found = self._given(), list[Piece]()
        for run in runs:
            text = "".join(given[run.begin : run.end])
            if run.changed:
                left = text[: len(text) - len(text.lstrip())]
                if found:  # the space before a word may stand behind the piece before it
                    held = found[-1].text
                    found[-1] = Piece(held.rstrip(), found[-1].changed)
                    left = held[len(held.rstrip()) :] + left
                behind = text[len(text.rstrip()) :]
                text = self._set_off(left, run, ids) + behind
            found.append(Piece(text, run.changed))
        return found

    def _set_off(self, left: str, run: "_Run", ids: Sequence[int]) -> str:
        """The new words of a run, behind `left`, which stood before the old ones."""
        old, new = (self._said(list(all_ids), run) for all_ids in (self.ids, ids))
        glued, was_glued = new[:1] == new.lstrip()[:1], old[:1] == old.lstrip()[:1]
        between = left if glued is was_glued else "" if glued else " "
        return between + new.strip()

    def _said(self, ids: list[int], run: "_Run") -> str:
        """What the ids of a run add to those before them."""
        begin, here = max(0, run.begin - _NEIGHBOURS), ids[run.begin : run.end]
        decode = self.text_format.decode
        base, whole = decode(ids[begin : run.begin]), decode(ids[begin : run.begin] + here)
        return whole[len(base) :] if whole.startswith(base) else decode(here)


@dataclass(frozen=True)
class _Run:
    """Neighbours that have all changed, or all not."""

    begin: int
    end: int
    changed: bool


def _runs(before: Sequence[int], after: Sequence[int], first: int, last: int) -> Iterator[_Run]:
    edges = [first]
    same = [old == new for old, new in zip(before, after, strict=True)]
    edges += [place for place in range(first + 1, last) if same[place] != same[place - 1]]
    for begin, end in pairwise([*edges, last]):
        yield _Run(begin, end, not same[begin])


def _whole(runs: Sequence[_Run], ids: Sequence[int], text: str, decode: Decode) -> list[Piece]:
    """The decoded text, cut where its ids are; a character made in two runs belongs to the later one."""
    found, done, changed = list[Piece](), "", False
    for run in runs:
        changed |= run.changed
        until = text if run is runs[-1] else decode(ids[: run.end])
        if text.startswith(until) and len(until) >= len(done):
            found.append(Piece(until[len(done) :], changed))
            done, changed = until, False
    return found


def _stretches(first: int, last: int, length: int, longest: int) -> Iterator[Stretch]:
    if length <= longest:
        yield Stretch(0, length, first, last)
        return
    core = max(1, longest // 2)
    for begin in range(first, last, core):
        end = min(begin + core, last)
        left = max(0, min(begin - (longest - core) // 2, length - longest))
        yield Stretch(left, left + longest, begin, end)
