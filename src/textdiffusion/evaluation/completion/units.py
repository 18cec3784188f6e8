"""What may be hidden of a text: stretches of its characters, the same whoever fills them."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...registry import Registry
from ...tokens import TextFormat
from ..overlap import UNSPACED

Span = tuple[int, int]
"""Where a stretch of a text begins, and where it has ended, in characters."""

_LETTER = rf"(?!{UNSPACED.pattern})\w"
_UNIT = re.compile(rf"{UNSPACED.pattern}|{_LETTER}(?:['\u2019]?{_LETTER})*|[^\w\s]")


@dataclass(frozen=True)
class Atom:
    """The smallest stretch of a text that is whole tokens."""

    start: int
    end: int
    ids: tuple[int, ...]
    """Several where a character is spelt in bytes."""

    def core(self, text: str) -> Span:
        """The stretch without the space at its ends; empty where it is nothing else."""
        said = text[self.start : self.end]
        start = self.start + len(said) - len(said.lstrip())
        return start, max(start, self.start + len(said.rstrip()))


def atoms_of(text: str, text_format: TextFormat) -> list[Atom]:
    """A text as a tokenizer cuts it, in order and without gaps; in one piece if it cannot tell where."""
    begin = int(text_format.begin_id is not None)
    ids, pieces = text_format.prompt(text)[begin:], text_format.given(text, holes=False)[begin:]
    found, waiting, place = list[Atom](), list[int](), 0
    for token, piece in zip(ids, pieces, strict=True):
        waiting.append(token)
        if piece:
            found.append(Atom(place, place + len(piece), tuple(waiting)))
            waiting, place = [], place + len(piece)
    if waiting and found:
        last = found.pop()
        found.append(Atom(last.start, last.end, (*last.ids, *waiting)))
    return found


def is_punctuation(text: str) -> bool:
    """Whether it is something, and nothing in it is a letter, a digit or a mark on one."""
    return bool(text) and all(unicodedata.category(char)[0] in "PSZ" for char in text)


def _words(text: str, formats: Sequence[TextFormat]) -> list[Span]:
    return [found.span() for found in _UNIT.finditer(text)]


def _tokens(text: str, formats: Sequence[TextFormat]) -> list[Span]:
    cut = [atoms_of(text, text_format) for text_format in formats]
    ends = set.intersection(*({atom.end for atom in atoms} for atoms in cut))
    found, start = list[Span](), 0
    for end in sorted(ends):
        core = Atom(start, end, ()).core(text)
        if core[0] < core[1]:
            found.append(core)
        start = end
    return found


@dataclass(frozen=True)
class Unit:
    """A way to divide a text into what is hidden or shown as a whole."""

    cut: Callable[[str, Sequence[TextFormat]], list[Span]]
    """The units of a text, without spaces, in order; the tokenizers are those that will read it."""
    summary: str


UNITS: Registry[Unit] = Registry(
    "unit",
    {
        "word": Unit(
            _words,
            "a word, a punctuation mark, or, in a script without spaces, a character",
        ),
        "token": Unit(_tokens, "the smallest stretches that are whole tokens of every model that takes part"),
    },
)
