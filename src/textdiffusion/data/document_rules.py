"""Rules that see whole documents, or all of them: to drop some, take some apart, or mend other columns."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from ..registry import Registry
from .clean import TEXT_CLEANERS, Cleaner


@dataclass(frozen=True)
class Document:
    """A text with what else is known of it."""

    text: str
    fields: Mapping[str, Any]
    """The other columns, e.g. title and author."""

    @property
    def title(self) -> str:
        """Its title, or nothing."""
        return str(self.fields.get("title") or "")


Rule = Callable[[Document], Sequence[Document]]
"""From a document to what becomes of it: none, itself, or several; it may remember those before."""

_EVERYWHERE = {"markup", "nfc", "unseen"}
"""Steps that are for titles and names too."""
_CYCLE = re.compile(r"组诗|节选|断章|选[一二三四五六七八九十百\d]+|[一二两三四五六七八九十百\d]+[首章则]")
_HEADING = re.compile(
    r"[（(第]?(?P<number>\d{1,3}|[〇○零一二三四五六七八九十百]{1,5}|[IVX]{1,6})[)）首章节]?[、.．:：]?"
)
_DIGITS = {char: value for value, chars in enumerate(("〇○零", *"一二三四五六七八九")) for char in chars}
_ROMAN = {"I": 1, "V": 5, "X": 10}
_MISSING = re.compile("[□\ufffd\ue000-\uf8ff]|[？?]{4,}|〖[^〗]*〗")


def _cleaned(cleaner: Cleaner, everywhere: bool, document: Document) -> Sequence[Document]:
    """What a step does to the text, or to all columns; a document without a text is dropped."""
    text, fields = cleaner(document.text), document.fields
    if everywhere:
        fields = {name: cleaner(value) if isinstance(value, str) else value for name, value in fields.items()}
    return [Document(text, fields)] if text.strip() else []


def _lifted(name: str) -> Rule:
    """The step of that name as a rule."""
    return partial(_cleaned, TEXT_CLEANERS[name], name in _EVERYWHERE)


def epigraphs() -> Rule:
    """Titles of several lines: the first is the title, the others become the field `epigraph`."""

    def rule(document: Document) -> Sequence[Document]:
        lines = [line.strip() for line in document.title.splitlines() if line.strip()]
        if len(lines) < 2:
            return [document]
        before = str(document.fields.get("epigraph") or "")
        epigraph = "\n".join(filter(None, [*lines[1:], before]))
        return [replace(document, fields={**document.fields, "title": lines[0], "epigraph": epigraph})]

    return rule


def cycles() -> Rule:
    """Whole cycles in one poem: taken apart at headings that are rising numbers, if the title names a cycle.

    The number goes behind the title. A poem in numbered parts stays whole.
    """
    return _parts


def _parts(document: Document) -> Sequence[Document]:
    if not _CYCLE.search(document.title):
        return [document]
    lines = document.text.split("\n")
    numbers = {place: number for place, line in enumerate(lines) if (number := _heading(line)) is not None}
    places = list(numbers)
    rising = all(numbers[one] < numbers[two] for one, two in pairwise(places))
    if len(places) < 2 or not rising:
        return [document]
    found = [] if not places[0] else [(document.title, lines[: places[0]])]
    for place, end in zip(places, [*places[1:], len(lines)], strict=True):
        found.append((f"{document.title} {lines[place].strip()}", lines[place + 1 : end]))
    parts = [(title, "\n".join(part).strip("\n")) for title, part in found]
    if not all(text.strip() for _, text in parts):
        return [document]
    return [Document(text, {**document.fields, "title": title}) for title, text in parts]


def _heading(line: str) -> int | None:
    """The number that a line consists of."""
    match = _HEADING.fullmatch(unicodedata.normalize("NFKC", line).strip())
    return None if match is None else _number(match["number"])


def _number(text: str) -> int:
    """12 of `12`, `十二`, `一二` or `XII`."""
    if text.isascii() and text.isdigit():
        return int(text)
    if text[0] in _ROMAN:
        values = [_ROMAN[char] for char in text]
        return sum(-one if one < two else one for one, two in zip(values, [*values[1:], 0], strict=True))
    hundreds, _, below = text.rpartition("百")
    tens, ten, ones = below.rpartition("十")
    if not ten and "百" not in text:
        return int("".join(str(_DIGITS[char]) for char in text))
    digits = [
        _DIGITS.get(part[-1:], 1 if sign else 0)
        for part, sign in ((hundreds, "百" in text), (tens, ten), (ones, ""))
    ]
    return 100 * digits[0] + 10 * digits[1] + digits[2]


def duplicates() -> Rule:
    """Texts that came before, whatever their title; signs, spaces, case and width make no difference."""
    seen = set[bytes]()

    def rule(document: Document) -> Sequence[Document]:
        letters = (char for char in unicodedata.normalize("NFKC", document.text).casefold() if char.isalnum())
        key = hashlib.sha256("".join(letters).encode("utf-8", "surrogatepass")).digest()
        new = key not in seen
        seen.add(key)
        return [document] if new else []

    return rule


def chinese() -> Rule:
    """Texts of which less than half of the letters are Chinese."""

    def rule(document: Document) -> Sequence[Document]:
        letters = [char for char in document.text if char.isalpha()]
        own = sum("CJK" in unicodedata.name(char, "") for char in letters)
        return [document] if letters and 2 * own >= len(letters) else []

    return rule


def missing() -> Rule:
    """Texts in which characters are missing: `□`, U+FFFD, private-use ones, four question marks, 〖...〗."""
    return lambda document: [] if _MISSING.search(document.text) else [document]


RULES: Registry[Callable[[], Rule]] = Registry(
    "rule",
    {
        **{name: partial(_lifted, name) for name in TEXT_CLEANERS},
        "chinese": chinese,
        "cycles": cycles,
        "duplicates": duplicates,
        "epigraphs": epigraphs,
        "missing": missing,
    },
)
"""What makes each rule, by name; the steps for texts are rules as well."""

FOR_POEMS = (
    "markup",
    "links",
    "unseen",
    "line-spaces",
    "doubled-lines",
    "rulers",
    "notes",
    "dates",
    "footnote-marks",
    "half-width",
    "full-width-slashes",
    "epigraphs",
    "cycles",
    "duplicates",
)
"""The rules for Chinese poems, in their order."""


def said_of(name: str) -> str:
    """What a rule takes away: the first paragraph of its docstring.

    Raises:
        UnknownNameError: there is no such rule.
    """
    maker = TEXT_CLEANERS[name] if name in TEXT_CLEANERS else RULES[name]
    return " ".join((maker.__doc__ or "").partition("\n\n")[0].split())
