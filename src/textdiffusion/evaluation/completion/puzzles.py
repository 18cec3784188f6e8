"""A text with blanks as one model reads it: ids, holes, and what each hole is part of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from ...language_model import DiffusionLM
from ...tokens import TextFormat
from .units import Atom, Span, atoms_of

BLANK = "____"
"""How a blank is shown."""


@dataclass(frozen=True)
class Cloze:
    """A text with blanks, before anybody reads it."""

    text: str
    blanks: tuple[Span, ...]
    """Stretches that are hidden, from left to right; none reaches into another."""


@dataclass(frozen=True)
class Part:
    """A stretch of a text as ids."""

    text: str
    ids: tuple[int, ...]
    blank: int | None = None
    """Number of the blank that it belongs to; None where it is shown."""


@dataclass(frozen=True)
class Puzzle:
    """A text with blanks as ids."""

    head: tuple[int, ...]
    """What stands before the text."""
    parts: Sequence[Part]
    tail: tuple[int, ...]
    """What stands behind it."""
    blanks: int
    document: int = 0
    """Number of the text, which with a seed decides what is drawn for it."""
    torn: int = 0
    """Tokens of the undivided text that reach over the edge of a blank, and were cut there."""

    @cached_property
    def ids(self) -> list[int]:
        """All of the text, undamaged."""
        return [*self.head, *(token for part in self.parts for token in part.ids), *self.tail]

    @cached_property
    def holes(self) -> list[bool]:
        """Which ids are hidden."""
        inside = [part.blank is not None for part in self.parts for _ in part.ids]
        return [False] * len(self.head) + inside + [False] * len(self.tail)

    @cached_property
    def truth(self) -> list[int]:
        """The hidden ids, from left to right."""
        return [token for token, hole in zip(self.ids, self.holes, strict=True) if hole]

    def by_blank(self, values: Sequence[int]) -> list[list[int]]:
        """Values of the holes, from left to right, put together blank by blank."""
        found: list[list[int]] = [[] for _ in range(self.blanks)]
        owners = [part.blank for part in self.parts for _ in part.ids if part.blank is not None]
        for owner, value in zip(owners, values, strict=True):
            found[owner].append(value)
        return found

    def right(self, ids: Sequence[int]) -> list[bool]:
        """Whether each blank holds its own ids; one of which the tokenizer keeps nothing never does."""
        pairs = zip(self.by_blank(ids), self.by_blank(self.truth), strict=True)
        return [bool(true) and said == true for said, true in pairs]

    @cached_property
    def said(self) -> list[str]:
        """What the blanks hide."""
        found = [""] * self.blanks
        for part in self.parts:
            if part.blank is not None:
                found[part.blank] += part.text
        return [each.strip() for each in found]

    @property
    def original(self) -> str:
        """The text."""
        return "".join(part.text for part in self.parts)

    @property
    def masked(self) -> str:
        """The text with each blank as a line."""
        return self._with([BLANK] * self.blanks)

    def completed(self, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> str:
        """The text with these ids in its holes."""
        return self._with([decode(each).strip() for each in self.by_blank(ids)])

    def _with(self, fillings: Sequence[str]) -> str:
        whole = ""
        for blank, parts in groupby(self.parts, lambda part: part.blank):
            said = "".join(part.text for part in parts)
            whole += said if blank is None else _space(said) + fillings[blank]
        return whole


def _space(text: str) -> str:
    """The space that a text begins with."""
    return text[: len(text) - len(text.lstrip())]


@dataclass(frozen=True)
class Reader:
    """How one model reads texts."""

    format: TextFormat
    longest: int
    """Most tokens, all that stands around the text included."""
    start: int | None = None
    """Id that a network begins with which says each token from the one before; None for any other."""

    @classmethod
    def of(cls, lm: DiffusionLM) -> "Reader":
        """The way a model reads."""
        text_format = lm.format
        tokenizer = text_format.tokenizer
        starts = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, text_format.pad_id)
        start = next(each for each in starts if each is not None) if lm.denoiser.shift else None
        return cls(text_format, lm.longest, start)

    @property
    def head(self) -> tuple[int, ...]:
        """The begin of a document; where it has none, and a network needs one, what that begins with."""
        begin = self.format.begin_id if self.format.begin_id is not None else self.start
        return () if begin is None else (begin,)

    @property
    def tail(self) -> tuple[int, ...]:
        """The end of a document."""
        return () if self.format.end_id is None else (self.format.end_id,)

    @property
    def room(self) -> int:
        """Tokens of a text itself."""
        return self.longest - len(self.head) - len(self.tail)

    def encoded(self, text: str) -> tuple[int, ...]:
        """The ids of a stretch by itself."""
        return tuple(self.format.prompt(text)[int(self.format.begin_id is not None) :])

    def lay(self, cloze: Cloze, document: int = 0) -> Puzzle:
        """A cloze as this model reads it.

        The text is cut into tokens as if nothing were hidden. A token inside a blank is hidden, one outside
        is shown; a space before or behind a token is no part of any blank. A token that reaches over the edge
        of a blank would tell of what it hides, so that its text is cut there, and encoded piece by piece. A
        blank has as many holes as it has tokens, which every model is told.
        """
        parts, torn = list[Part](), 0
        for atom in atoms_of(cloze.text, self.format):
            start, end = atom.core(cloze.text)
            over = [
                (number, span)
                for number, span in enumerate(cloze.blanks)
                if span[0] < end and start < span[1]
            ]
            said = cloze.text[atom.start : atom.end]
            if not over:
                parts.append(Part(said, atom.ids))
            elif len(over) == 1 and over[0][1][0] <= start and end <= over[0][1][1]:
                parts.append(Part(said, atom.ids, over[0][0]))
            else:
                parts += self._torn(cloze.text, atom, over)
                torn += 1
        return Puzzle(self.head, parts, self.tail, len(cloze.blanks), document, torn)

    def _torn(self, text: str, atom: Atom, over: Sequence[tuple[int, Span]]) -> Iterator[Part]:
        place = atom.start
        for number, (begin, stop) in over:
            start, end = max(begin, atom.start), min(stop, atom.end)
            shown = text[place:start]
            if shown.strip():
                yield Part(shown, self.encoded(shown))
                shown = ""
            yield Part(shown + text[start:end], self.encoded(shown + text[start:end]), number)
            place = end
        if text[place : atom.end]:
            yield Part(text[place : atom.end], self.encoded(text[place : atom.end]))
