"""Texts of which a part is given, and the model that is asked about the rest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from ...canvas import Canvas
from ...corruptions import Corruption
from ...data.prompted import Prompted
from ...errors import DataError
from ...generation import Decoding
from ...language_model import DiffusionLM
from ...lengths import EndReader
from ...randomness import RowGenerator
from ..documents import conversation_ids, shuffled, split_ids


@dataclass(frozen=True)
class Example:
    """A text of which the first tokens are given."""

    given: tuple[int, ...]
    rest: tuple[int, ...]
    """Without the end, which stands behind it."""
    seed: int = 0
    """Of what is drawn for it, whatever else is in its batch."""

    @property
    def needs(self) -> int:
        """Room that the rest takes, its end included."""
        return len(self.rest) + 1


@dataclass(frozen=True)
class Subject:
    """A model, the texts that it is asked about, and how."""

    lm: DiffusionLM
    examples: Sequence[Example]
    training: Sequence[int]
    """Room that texts of the training split need; what is fitted is fitted on these."""
    decoding: Decoding
    seed: int = 0
    """Of what is drawn for all: cuts, and texts drawn anew for standard errors."""
    batch: int = 16
    """Texts at once."""

    @property
    def corruption(self) -> Corruption:
        """The noise in which a generation begins."""
        return self.lm.process(self.decoding.recipe().sampler)

    @property
    def reader(self) -> EndReader:
        """The reading from the vocabulary, whether or not the model has learnt to fill rooms."""
        return EndReader(self.lm.format.ends)

    def batches(self) -> Iterator[list[Example]]:
        """The examples some at a time, in order."""
        rest = iter(self.examples)
        while batch := list(islice(rest, self.batch)):
            yield batch

    def canvas(self, given: Sequence[Sequence[int]]) -> Canvas:
        """These tokens, each with all the room that the model has behind them, on the model's device."""
        rooms = [self.lm.longest - len(ids) for ids in given]
        canvas = Canvas.from_prompts(given, rooms, pad_id=self.lm.format.pad_id)
        return canvas.to(self.lm.model.device)

    def draws(self, batch: Sequence[Example], fold: int = 0) -> RowGenerator:
        """Streams for the texts of a batch."""
        seeds = [example.seed for example in batch]
        return RowGenerator.for_rows(seeds, self.lm.model.device).fold(fold)


def examples_of(
    texts: Iterable[Prompted], lm: DiffusionLM, *, given: int, limit: int | None, seed: int
) -> tuple[list[Example], int]:
    """Up to `limit` of the first 100,000 texts, drawn by the seed, and how many did not fit meanwhile.

    Without a prompt of its own a text is given by its first `given` tokens, its begin not counted; one that
    has no more is left out, as is one that the model's canvas cannot hold with its end.

    Raises:
        DataError: none is left.
    """
    found, left_out = list[Example](), 0
    for text in shuffled(texts, seed):
        if limit is not None and len(found) >= limit:
            break
        example = _example(text, lm, given, seed + len(found))
        if example.rest and len(example.given) + example.needs <= lm.longest:
            found.append(example)
        else:
            left_out += 1
    if not found:
        raise DataError(
            f"none of {left_out} texts has more than the given tokens and fits into the model's "
            f"{lm.longest}; lower --given, or give other text."
        )
    return found, left_out


def _example(text: Prompted, lm: DiffusionLM, given: int, seed: int) -> Example:
    text_format = lm.format
    if text.turns:
        before, answer = conversation_ids(text, text_format, lm.longest)
        return Example(tuple(before), tuple(answer[:-1]), seed)
    if text.prompt is None:
        ids = text_format.prompt(text.answer)
        place = given + (text_format.begin_id is not None)
        return Example(tuple(ids[:place]), tuple(ids[place:]), seed)
    start, rest = split_ids(text_format, text.prompt, text.answer)
    return Example(tuple(start), tuple(rest), seed)


def needs_of(subject: Subject, examples: Sequence[Example]) -> torch.Tensor:
    """Room that each example needs, on the model's device."""
    return torch.tensor([example.needs for example in examples], device=subject.lm.model.device)
