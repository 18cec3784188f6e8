"""Protocols: which stretches of which texts are hidden, and how completions of them are asked for."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ...data.clean import CleanedDocuments
from ...errors import DataError, SettingsError
from ...randomness import RowGenerator
from ...registry import Registry
from .puzzles import Cloze, Part, Puzzle, Reader
from .units import UNITS, Span, atoms_of

Ratio = float
Clozes = Mapping[Ratio, Sequence[Cloze]]
"""Texts with blanks, in the same order at each ratio."""
RATIOS: tuple[Ratio, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of a text that are hidden, as published."""


@dataclass(frozen=True)
class Blanking:
    """What is hidden."""

    ratios: tuple[Ratio, ...] = RATIOS
    """Shares of each text that are hidden, each in a round of its own."""
    unit: str = "word"
    """What is hidden or shown as a whole: word (in Chinese a character), or token, of all models alike."""
    separators: tuple[str, ...] = ()
    """Units that are never hidden, such as the stroke between the lines of a poem."""
    clean: tuple[str, ...] = ()
    """Cleaning steps by name, in order, as in training."""
    spared: int = 0
    """Leading units of each text that are never hidden, where a training spared them."""
    num_samples: int = 100
    """Texts of the published protocol, the first in the order of the seed; 0 takes all."""

    def __post_init__(self) -> None:
        """Refuse what hides nothing or all.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        object.__setattr__(self, "unit", UNITS.canonical(self.unit))
        wrong = [ratio for ratio in self.ratios if not 0.0 < ratio < 1.0]
        if wrong or not self.ratios:
            raise SettingsError(f"ratio {wrong[0] if wrong else '()'}: give shares between 0 and 1.")
        if self.spared < 0:
            raise SettingsError(f"spared is {self.spared}; give a number of units from 0.")
        if self.num_samples < 0:
            raise SettingsError(f"num_samples is {self.num_samples}; give a number of texts, or 0 for all.")
        CleanedDocuments((), self.clean)


@dataclass(frozen=True)
class Round:
    """The texts at one ratio."""

    ratio: Ratio
    sets: Sequence[Sequence[Puzzle]]
    """For each reader its puzzles, in the order of the texts."""
    rows: Sequence[Mapping[str, Any]]
    """The blanks as they are saved."""


@dataclass(frozen=True)
class Chosen:
    """All that is to be filled under one protocol."""

    rounds: Sequence[Round]
    cut: int = 0
    """Texts that were cut to the room of the models."""
    left_out: int = 0
    """Texts with too little in them to hide some of it and show the rest."""


class Protocol(ABC):
    """A way to choose blanks and to score how they are filled."""

    summary: str
    separators: Sequence[str]
    """What is never hidden, whatever else is named."""
    tells: bool
    """Whether networks, which have not learnt so, are kept from writing what is never hidden."""
    once: bool
    """Whether a single drawn completion is scored, and nothing else."""
    decoding: Mapping[str, Any]
    """How a diffusion model draws, unless the user says otherwise."""
    autoregressive: Mapping[str, Any]
    """How an autoregressive one draws."""

    @abstractmethod
    def choose(
        self,
        texts: Sequence[str],
        blanking: Blanking,
        readers: Sequence[Reader],
        seed: int,
        saved: Clozes | None = None,
    ) -> Chosen:
        """The puzzles of each reader; texts are as they stand in the data.

        `saved` blanks take the place of new ones where blanks do not hang on the tokenizer.

        Raises:
            DataError: there is no text of which something can be hidden and the rest shown.
        """


class Published(Protocol):
    """The benchmark of DiffusionBert with Prefix (2025), with its faults.

    Poems are lines joined by "/" and cut at 256 tokens. Of all tokens but special ones and "/", punctuation
    included, round(ratio * n) are hidden; one Python generator draws the positions of all poems in turn, so
    that each tokenizer gets blanks of its own. A completion is drawn once, at temperature 1 from the 50 most
    probable tokens up to a mass of 0.95, by ten steps of full re-masking, or from left to right in sight of
    what stands before; the accuracy is the share of hidden tokens that it meets, over all poems. An
    autoregressive network begins with the tokenizer's begin, or its end, or padding, whatever else it adds.
    """

    summary = "as published: each tokenizer's own tokens, one drawn completion, punctuation counted"
    separators = ("/",)
    tells = False
    once = True
    longest = 256
    decoding: Mapping[str, Any] = {"sampler": "full-remask", "steps": 10, "temperature": 1.0}
    autoregressive: Mapping[str, Any] = {"temperature": 1.0, "top_k": 50, "top_p": 0.95}

    def choose(
        self,
        texts: Sequence[str],
        blanking: Blanking,
        readers: Sequence[Reader],
        seed: int,
        saved: Clozes | None = None,
    ) -> Chosen:
        listed = list(CleanedDocuments(texts, ("slash-lines",)))[: blanking.num_samples or None]
        separators = {*self.separators, *blanking.separators}
        tokens = [[self._tokens(text, reader) for text in listed] for reader in readers]
        rounds = []
        for ratio in blanking.ratios:
            sets = []
            for reader, documents in zip(readers, tokens, strict=True):
                generator = random.Random(seed)  # the one exception to RowGenerator: these are its positions
                sets.append(
                    [
                        self._hide(parts, reader, ratio, separators, generator, number)
                        for number, parts in enumerate(documents)
                    ]
                )
            rounds.append(Round(ratio, sets, list(self._rows(ratio, readers, sets))))
        kept = ["".join(part.text for part in parts) for parts in tokens[0]]
        cut = sum(whole != part for whole, part in zip(listed, kept, strict=True))
        return Chosen(rounds, cut)

    def _tokens(self, text: str, reader: Reader) -> list[Part]:
        """The tokens of a text that fit, each a part of its own; a character in bytes belongs to its last."""
        own = self.longest - reader.format.tokenizer.num_special_tokens_to_add()
        found = list[Part]()
        for atom in atoms_of(text, reader.format):
            *before, last = atom.ids
            found += [Part("", (token,)) for token in before]
            found.append(Part(text[atom.start : atom.end], (last,)))
        return found[: min(own, reader.room - len(self._extra(reader)))]

    def _hide(
        self,
        parts: Sequence[Part],
        reader: Reader,
        ratio: Ratio,
        separators: set[str],
        generator: random.Random,
        number: int,
    ) -> Puzzle:
        candidates = [
            place
            for place, part in enumerate(parts)
            if part.ids[0] not in reader.format.special_ids and part.text.strip() not in separators
        ]
        places = sorted(generator.sample(candidates, round(ratio * len(candidates))))
        owner = {place: blank for blank, place in enumerate(places)}
        laid = [replace(part, blank=owner.get(place)) for place, part in enumerate(parts)]
        return Puzzle((*self._extra(reader), *reader.head), laid, reader.tail, len(places), number)

    def _extra(self, reader: Reader) -> tuple[int, ...]:
        """What stands before even the begin: an autoregressive network was given a start of its own."""
        return () if reader.start is None or reader.head == (reader.start,) else (reader.start,)

    def _rows(
        self, ratio: Ratio, readers: Sequence[Reader], sets: Sequence[Sequence[Puzzle]]
    ) -> Iterable[Mapping[str, Any]]:
        seen = set[str]()
        for reader, puzzles in zip(readers, sets, strict=True):
            name = reader.format.fingerprint()[:16]
            if name in seen:
                continue
            seen.add(name)
            for puzzle in puzzles:
                hidden = [place for place, part in enumerate(puzzle.parts) if part.blank is not None]
                yield {
                    "protocol": "published",
                    "ratio": ratio,
                    "document": puzzle.document,
                    "tokenizer": name,
                    "tokens": hidden,
                    "text": puzzle.original,
                }


class Corrected(Protocol):
    """The same question put fairly.

    Blanks are stretches of characters, drawn once and alike for every model, and what is hidden at a low
    ratio is hidden at every higher one. A text is cut where the smallest of the models ends. Scored are the
    most probable completion and several drawn ones at temperature 1 without cuts, in intervals over texts,
    with punctuation apart. Nobody writes what is never hidden. An autoregressive network begins as its
    documents do.
    """

    summary = "the same blanks for every model, argmax and drawn completions, punctuation apart"
    separators = ()
    tells = True
    once = False
    decoding: Mapping[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    autoregressive: Mapping[str, Any] = decoding

    def choose(
        self,
        texts: Sequence[str],
        blanking: Blanking,
        readers: Sequence[Reader],
        seed: int,
        saved: Clozes | None = None,
    ) -> Chosen:
        if saved is not None:
            return self._lay(saved, readers)
        cleaned = list(CleanedDocuments(texts, blanking.clean))
        left_out, cut, ordered = len(texts) - len(cleaned), 0, list[tuple[str, list[Span]]]()
        rooms = [_Room.of(reader) for reader in readers]
        for number, whole in enumerate(cleaned):
            text, units = self._fit(whole, blanking, rooms)
            free = [
                span for span in units[blanking.spared :] if text[slice(*span)] not in blanking.separators
            ]
            if len(units) < 2 or not free:
                left_out += 1
                continue
            cut += text != whole
            draws = RowGenerator.for_rows([(seed << 40) + (number << 20)]).uniform(len(free))
            ordered.append((text, [free[place] for place in draws[0].argsort().tolist()]))
        clozes = {
            ratio: [Cloze(text, self._hidden(order, ratio)) for text, order in ordered]
            for ratio in blanking.ratios
        }
        chosen = self._lay(clozes, readers)
        return replace(chosen, cut=cut, left_out=left_out + chosen.left_out)

    def _lay(self, clozes: Clozes, readers: Sequence[Reader]) -> Chosen:
        """The puzzles of given blanks, without texts for which a reader has no room."""
        sets = {
            ratio: [[reader.lay(cloze, number) for number, cloze in enumerate(row)] for reader in readers]
            for ratio, row in clozes.items()
        }
        too_long = {
            puzzle.document
            for laid in sets.values()
            for reader, puzzles in zip(readers, laid, strict=True)
            for puzzle in puzzles
            if len(puzzle.ids) > reader.longest
        }
        rounds = []
        for ratio, laid in sets.items():
            kept = [[puzzle for puzzle in puzzles if puzzle.document not in too_long] for puzzles in laid]
            if not kept[0]:
                raise DataError(
                    "no text is left to hide something of: give texts of at least two words or characters "
                    "that fit into the models."
                )
            rows = [
                _row(ratio, number, cloze)
                for number, cloze in enumerate(clozes[ratio])
                if number not in too_long
            ]
            rounds.append(Round(ratio, kept, rows))
        return Chosen(rounds, left_out=len(too_long))

    def _fit(self, text: str, blanking: Blanking, rooms: Sequence["_Room"]) -> tuple[str, list[Span]]:
        """As much of a text as every model holds even if it is torn into its units, and these."""
        units = UNITS[blanking.unit].cut(text, [room.reader.format for room in rooms])
        sizes, last = [0] * len(rooms), 0
        for number, (_, end) in enumerate(units):
            sizes = [size + room.size(text[last:end]) for size, room in zip(sizes, rooms, strict=True)]
            if any(size > room.reader.room for size, room in zip(sizes, rooms, strict=True)):
                return text[:last], units[:number]
            last = end
        return text, units

    def _hidden(self, order: Sequence[Span], ratio: Ratio) -> tuple[Span, ...]:
        return tuple(sorted(order[: max(1, round(ratio * len(order)))]))


@dataclass(frozen=True)
class _Room:
    """How much stretches of text take of what a reader holds."""

    reader: Reader
    size: Callable[[str], int]
    """Tokens of a stretch by itself; most stretches come again and again."""

    @classmethod
    def of(cls, reader: Reader) -> "_Room":
        return cls(reader, cache(lambda stretch: len(reader.encoded(stretch))))


PROTOCOLS: Registry[Protocol] = Registry("protocol", {"published": Published(), "corrected": Corrected()})


def _row(ratio: Ratio, number: int, cloze: Cloze) -> Mapping[str, Any]:
    blanks = [list(span) for span in cloze.blanks]
    return {
        "protocol": "corrected",
        "ratio": ratio,
        "document": number,
        "blanks": blanks,
        "text": cloze.text,
    }
