"""Cells to lines of a given width, in whatever unit the caller measures (pixels, terminal columns)."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .cells import Cell, Kind, is_wide, visible

TAB = "    "

_CLOSING = ("Pe", "Pf", "Po", "Pd")
_OPENING = ("Ps", "Pi")


@dataclass(frozen=True)
class Span:
    """A stretch of one line in one colour."""

    text: str
    kind: Kind
    confidence: float | None = None


Line = list[Span]
Width = int | float
"""In columns or pixels."""
Measure = Callable[[str], Width]


def wrap(cells: Sequence[Cell], width: Width, measure: Measure) -> list[Line]:
    """Lines no wider than `width`, broken at spaces and between wide (e.g. Chinese) characters.

    A word that is wider than a line is broken anywhere; spaces at a break vanish; newlines in the text break.
    Closing punctuation never begins a line and opening punctuation never ends one.
    """
    lines: list[Line] = [[]]
    used: Width = 0
    for word in _words(cells):
        if word[0].text == "\n":
            lines.append([])
            used = 0
            continue
        size = sum(measure(span.text) for span in word)
        if used + size <= width:
            lines[-1] += word
            used += size
        elif word[0].text.isspace():
            used = width + 1  # the next word opens a line of its own
        elif size <= width:
            _trim(lines[-1])
            lines.append(list(word))
            used = size
        else:
            used = _break_anywhere(lines, word, used, width, measure)
    return lines


def _break_anywhere(lines: list[Line], word: Line, used: Width, width: Width, measure: Measure) -> Width:
    for span in word:
        for character in span.text:
            size = measure(character)
            if used + size > width and lines[-1]:
                lines.append([])
                used = 0
            lines[-1].append(Span(character, span.kind, span.confidence))
            used += size
    return used


def _trim(line: Line) -> None:
    while line and line[-1].text.isspace():
        line.pop()


def _words(cells: Sequence[Cell]) -> Iterator[Line]:
    """What must stay on one line; spaces and newlines are words of their own."""
    word: Line = []
    for atom in _atoms(cells):
        if word and _may_break(word[-1].text, atom.text):
            yield word
            word = []
        word.append(atom)
    if word:
        yield word


def _may_break(left: str, right: str) -> bool:
    if left.isspace() or right.isspace():
        return True
    if unicodedata.category(right[0]) in _CLOSING or unicodedata.category(left[-1]) in _OPENING:
        return False
    return is_wide(left[-1]) or is_wide(right[0])


def _atoms(cells: Sequence[Cell]) -> Iterator[Span]:
    """Newlines, runs of blanks, wide characters one by one, and the rest of words; one colour each."""
    for cell in cells:
        text = visible(cell.text).replace("\t", TAB)
        start = 0
        for end in range(1, len(text) + 1):
            if end == len(text) or _class(text[end]) != _class(text[start]) or _class(text[start]) in "nw":
                yield Span(text[start:end], cell.kind, cell.confidence)
                start = end


def _class(character: str) -> str:
    if character in "\n\u2028\u2029":
        return "n"
    if character.isspace():
        return "b"
    return "w" if is_wide(character) else "c"
