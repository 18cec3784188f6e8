"""Cleaning a text by named steps: the marks of WikiText, Unicode forms, and those for poems."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..registry import Registry
from .clean_poems import POEM_CLEANERS

Cleaner = Callable[[str], str]
"""A pure function from a text to a cleaner one."""

_EN_DASH = "\u2013"
_MARKS = {"@-@": "-", "@,@": ",", "@.@": "."}
_GLUE_BOTH = {*_MARKS, "/", "\u2044"}
_GLUE_LEFT = {",", ".", ";", ":", "!", "?", ")", "]", "”", "\u2032", "\u2033"}
_GLUE_RIGHT = {"(", "[", "“"}
_CURRENCIES = {"$", "£", "€", "¥", "₱", "₹"}
_DOLLARS = {"A", "AU", "C", "CA", "HK", "NT", "NZ", "S", "US"}
_CONTRACTED = {"s", "t", "re", "ve", "ll", "d", "m"}
_APOSTROPHES = {"'", "\u2019"}
_APART = {"'em", "'til", "'cause", "'tis", "'twas"}


def detokenize_wikitext(text: str) -> str:
    """The text of WikiText as it is usually written, line by line; only spaces and the marks ``@-@`` change.

    ``1 @,@ 000`` becomes ``1,000``, ``he said , " It 's ( very ) big . "`` becomes ``he said, "It's (very)
    big."``, and ``= = Title = =`` becomes ``== Title ==``. Where the tokens do not tell what was written (a
    dash between words, an ellipsis, a quotation mark without its partner) the spaces stay. `<unk>` stays too.
    """
    return "\n".join(_detokenize_line(line) for line in text.split("\n"))


def _detokenize_line(line: str) -> str:
    """One line, without the spaces at its ends."""
    line = line.strip(" ")
    if line.startswith("= ") and line.endswith(" ="):
        line = re.sub("(?<==) (?==)", "", line)
    tokens = line.split(" ")
    to_left, to_right = _glue(tokens)
    quotes_left, quotes_right = _glue_quotes(tokens)
    joined = to_left | quotes_left | {index + 1 for index in to_right | quotes_right}
    words = [_MARKS.get(token, token) for token in tokens]
    return "".join(word if index in joined or not index else f" {word}" for index, word in enumerate(words))


def _glue(tokens: Sequence[str]) -> tuple[set[int], set[int]]:
    """Indices of the tokens that are written onto the one before, and onto the one after."""
    left, right = set(), set()
    padded = ["", *tokens, ""]
    for index, token in enumerate(tokens):
        before, after = padded[index], padded[index + 2]
        between_digits = before[-1:].isdigit() and after[:1].isdigit()
        if token in _GLUE_BOTH or (token in {_EN_DASH, ":"} and between_digits):
            left.add(index)
            right.add(index)
        elif token in _GLUE_LEFT or (
            token in {"%", "°"} and before[-1:].isdigit() and after not in {"C", "F"}
        ):
            left.add(index)
        elif token in _GLUE_RIGHT or (token == "°" and after in {"C", "F"}):
            right.add(index)
        elif token in _CURRENCIES | {"#"} and after[:1].isdigit():
            right.add(index)
            if token == "$" and before in _DOLLARS:
                left.add(index)
        elif token[:1] == "'" and token[1:2].isalpha() and before[-1:].isalnum() and token not in _APART:
            left.add(index)
    return left, right


def _glue_quotes(tokens: Sequence[str]) -> tuple[set[int], set[int]]:
    """As `_glue`, for apostrophes and for quotation marks in pairs; one without a partner stays apart."""
    left, right = set(), set()
    opened: dict[str, int] = {}
    padded = ["", *tokens, ""]
    for index, token in enumerate(tokens):
        before, after = padded[index], padded[index + 2]
        if token in _APOSTROPHES and after in _CONTRACTED:
            left.add(index)
            right.add(index)
        elif token in {"'", '"'} and token in opened:
            right.add(opened.pop(token))
            left.add(index)
        elif token in _APOSTROPHES and (
            before[-1:] == "s" or (before[-1:].isdigit() and after[:1].isdigit())
        ):
            left.add(index)
        elif token in {"'", '"'}:
            opened[token] = index
    return left, right


def nfc(text: str) -> str:
    """The text in Unicode's composed form (NFC): an accented letter is one character where it can be."""
    return unicodedata.normalize("NFC", text)


TEXT_CLEANERS: Registry[Cleaner] = Registry(
    "cleaner",
    dict(sorted({**POEM_CLEANERS, "nfc": nfc, "wikitext": detokenize_wikitext}.items())),
)
"""Cleaning steps by name."""


@dataclass(frozen=True)
class CleanedDocuments:
    """Documents after the named steps, in that order, read anew at each iteration; empty ones go."""

    documents: Iterable[str]
    """The texts, e.g. of `read_documents`."""
    cleaners: Sequence[str]
    """Names in `TEXT_CLEANERS`; an unknown one is an error at once."""

    def __post_init__(self) -> None:
        """Look the names up."""
        for name in self.cleaners:
            TEXT_CLEANERS[name]

    def __iter__(self) -> Iterator[str]:
        """Read and clean from the start."""
        steps = [TEXT_CLEANERS[name] for name in self.cleaners]
        for text in self.documents:
            for step in steps:
                text = step(text)
            if text.strip():
                yield text
