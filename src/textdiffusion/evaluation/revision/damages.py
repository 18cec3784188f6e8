"""How texts are damaged. A new way: one function, one line in the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...registry import Registry
from ...tokens import TextFormat
from ..words import WORD
from .units import Unit, units_of

Random = np.random.Generator
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Keys; those of a row stand half a key to the right of those above."""


@dataclass(frozen=True)
class Vocabulary:
    """What texts are made of."""

    text_format: TextFormat
    words: Sequence[int]
    """Ids that may stand in a text; at least two."""


Damage = Callable[[str, float, Random, Vocabulary], list[Unit]]
"""A text of which that share is damaged: tokens or words, as the damage says."""


def random_tokens(text: str, share: float, random: Random, vocabulary: Vocabulary) -> list[Unit]:
    """Tokens become any others, each as likely: the noise of uniform-state diffusion."""
    text_format = vocabulary.text_format
    ids = text_format.prompt(text)[text_format.begin_id is not None :]
    found = list(ids)
    for place in _some(len(ids), share, random):
        while found[place] == ids[place]:
            found[place] = vocabulary.words[int(random.integers(len(vocabulary.words)))]
    return [Unit((old,), (new,)) for old, new in zip(ids, found, strict=True)]


def typing_errors(text: str, share: float, random: Random, vocabulary: Vocabulary) -> list[Unit]:
    """A letter of a word is dropped, doubled, exchanged with the next, or replaced by one on a key beside."""
    words = [word.span() for word in WORD.finditer(text) if len(word.group()) > 1]
    struck = [words[place] for place in _some(len(words), share, random)]
    changed = [(begin, end, mistyped(text[begin:end], random)) for begin, end in struck]
    return units_of(_pieces(text, changed), vocabulary.text_format)


def swapped_words(text: str, share: float, random: Random, vocabulary: Vocabulary) -> list[Unit]:
    """Neighbours change places; the share counts both of them."""
    words = [word.span() for word in WORD.finditer(text)]
    pairs = [
        place
        for place, ((a, b), (c, d)) in enumerate(pairwise(words))
        if not text[b:c].strip() and text[a:b].casefold() != text[c:d].casefold()
    ]
    taken, changed = set[int](), list[tuple[int, int, str]]()
    for place in random.permutation(pairs).tolist():
        if len(taken) + 2 > round(share * len(words)):
            break
        if not taken & {place, place + 1}:
            taken |= {place, place + 1}
            (a, b), (c, d) = words[place : place + 2]
            changed.append((a, d, text[c:d] + text[b:c] + text[a:b]))
    return units_of(_pieces(text, sorted(changed)), vocabulary.text_format)


DAMAGES: Registry[Damage] = Registry(
    "damage",
    {"random-tokens": random_tokens, "typing-errors": typing_errors, "swapped-words": swapped_words},
)


def mistyped(word: str, random: Random) -> str:
    """A word of two letters or more with one error of typing; always another word."""
    found = word
    while found == word:
        place = int(random.integers(len(word)))
        found = _SLIPS[int(random.integers(len(_SLIPS)))](word, place, random)
    return found


def beside(letter: str) -> str:
    """The letters on the keys beside that of a Latin letter; none for others."""
    for number, row in enumerate(_ROWS):
        place = row.find(letter.lower())
        if place < 0 or not letter:
            continue
        above = _ROWS[number - 1][place : place + 2] if number else ""
        below = _ROWS[number + 1][max(0, place - 1) : place + 1] if number + 1 < len(_ROWS) else ""
        keys = row[max(0, place - 1) : place] + row[place + 1 : place + 2] + above + below
        return keys.upper() if letter.isupper() else keys
    return ""


def _dropped(word: str, place: int, random: Random) -> str:
    return word[:place] + word[place + 1 :]


def _doubled(word: str, place: int, random: Random) -> str:
    return word[: place + 1] + word[place:]


def _exchanged(word: str, place: int, random: Random) -> str:
    return word[:place] + word[place + 1 : place + 2] + word[place : place + 1] + word[place + 2 :]


def _replaced(word: str, place: int, random: Random) -> str:
    keys = beside(word[place])
    return word if not keys else word[:place] + str(random.choice(list(keys))) + word[place + 1 :]


_SLIPS: Sequence[Callable[[str, int, Random], str]] = (_dropped, _doubled, _exchanged, _replaced)


def _some(count: int, share: float, random: Random) -> list[int]:
    """The numbers of a share of that many, in order."""
    return sorted(random.permutation(count)[: round(share * count)].tolist())


def _pieces(text: str, changed: Sequence[tuple[int, int, str]]) -> list[tuple[str, str]]:
    """The text in pieces beside what they become: all from BEGIN to END becomes another text."""
    found, place = list[tuple[str, str]](), 0
    for begin, end, new in changed:
        found += [(text[place:begin], text[place:begin]), (text[begin:end], new)]
        place = end
    return [*found, (text[place:], text[place:])]
