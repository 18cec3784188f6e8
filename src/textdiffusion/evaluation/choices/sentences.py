"""Texts in pieces: sentences and lines."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SENTENCE = re.compile(
    r"[^\s].*?(?:[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|$)|[\u3002\uff01\uff1f]+[\u201d\u2019\u300d\u300f]*|$)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Piece:
    """A way to take texts apart, and to put two pieces together again."""

    split: Callable[[str], list[str]]
    between: str


def sentences(text: str) -> list[str]:
    """The sentences of a text, by their full stops; paragraphs end them too."""
    paragraphs = re.split(r"\n\s*\n", text)
    return [" ".join(found.split()) for each in paragraphs for found in _SENTENCE.findall(each)]


def lines(text: str) -> list[str]:
    """The lines of a text that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


PIECES: Mapping[str, Piece] = {"sentence": Piece(sentences, " "), "line": Piece(lines, "\n")}
"""By what they are called."""
