"""Which questions share a pass through the network, and in what shape: how fast, and how exactly alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..denoisers import Denoiser
from ..registry import Registry
from .questions import Answers, Joinable, Look, joined, stacked


@dataclass(frozen=True)
class Reader:
    """The network as passes are made through it."""

    denoiser: Denoiser
    pad_id: int

    def bucket(self, width: int) -> int:
        """The width to which texts of this one are padded: less than an eighth more, or at most 7 tokens.

        Few widths mean that texts of unequal length meet in one shape, for which what is compiled is kept.
        """
        step = max(8, 1 << max(0, (width - 1).bit_length() - 4))
        wide = -(-width // step) * step
        longest = self.denoiser.longest
        return wide if longest is None else max(width, min(wide, longest))


class Merging(ABC):
    """A rule for passes; `budget` is how many tokens, padding included, a pass may hold."""

    @abstractmethod
    def takes(self, reader: Reader, chosen: Sequence[Joinable], more: Joinable, budget: int) -> bool:
        """Whether one more question, of the same form, may share the pass of those that are chosen."""

    @abstractmethod
    def shape(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> tuple[int, int]:
        """Texts and columns of the largest pass that answers these."""

    @abstractmethod
    def answers(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> Answers:
        """What the network says to these, in several passes if a text more would break the budget."""


@dataclass(frozen=True)
class Padded(Merging):
    """Questions of like width go together, as many as fit.

    The last bits of an answer hang on the shape of the pass, as those of matrix products do: a text is the
    same alone and in a crowd but where two tokens are as good as equally likely, which in 32 bits is rare and
    in 16 is not.
    """

    padding: float = 0.25
    """Largest share of a pass that texts shorter than the longest may waste, what buckets add left out."""

    def takes(self, reader: Reader, chosen: Sequence[Joinable], more: Joinable, budget: int) -> bool:
        questions = [*chosen, more]
        widths = [reader.bucket(one.columns) for one in questions]
        whole = max(widths) * sum(one.rows for one in questions)
        used = sum(width * one.rows for width, one in zip(widths, questions, strict=True))
        return whole <= budget and whole - used <= self.padding * whole

    def shape(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> tuple[int, int]:
        width = reader.bucket(max(one.columns for one in questions))
        return max(1, min(sum(one.rows for one in questions), budget // width)), width

    def answers(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> Answers:
        rows, width = self.shape(reader, questions, budget)
        first, *others = questions
        return first.together(others, reader.denoiser, rows=rows, width=width, pad_id=reader.pad_id)


@dataclass(frozen=True)
class Fixed(Merging):
    """Every pass of a bucket has the same shape, whoever is in it: so many texts, asked about all over.

    What is missing is filled with copies. A text's arithmetic then hangs on its own length alone, as long as
    the memory suffices; it costs idle rows when few requests are there, and a vocabulary head everywhere.
    What is read with a memory is asked alone.
    """

    rows: int = 8
    """Texts in a pass; fewer where the budget does not allow as many."""

    def takes(self, reader: Reader, chosen: Sequence[Joinable], more: Joinable, budget: int) -> bool:
        rows, width = self.shape(reader, chosen, budget)
        fits = sum(one.rows for one in chosen) + more.rows <= rows
        return isinstance(more, Look) and reader.bucket(more.columns) == width and fits

    def shape(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> tuple[int, int]:
        width = reader.bucket(questions[0].columns)
        return max(1, min(self.rows, budget // width)), width

    def answers(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> Answers:
        looks = [one for one in questions if isinstance(one, Look)]
        if not looks:
            return _by_itself(reader, questions[0])
        rows, width = self.shape(reader, looks, budget)
        parts = joined(looks, width, reader.pad_id).parts(rows)
        found = stacked([part.everywhere(rows).answer(reader.denoiser)[: part.rows] for part in parts])
        rows_of = zip(torch.split(found, [look.rows for look in looks]), looks, strict=True)
        own = [(said[:, : look.columns], look.where) for said, look in rows_of]
        logits = [said if where is None else said[where] for said, where in own]
        return Answers(logits, len(parts) * rows * width, len(parts))


@dataclass(frozen=True)
class Alone(Merging):
    """No pass is shared: each question is asked as `DiffusionLM` would ask it, to the last bit."""

    def takes(self, reader: Reader, chosen: Sequence[Joinable], more: Joinable, budget: int) -> bool:
        return False

    def shape(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> tuple[int, int]:
        (one,) = questions
        return max(1, min(one.rows, budget // one.columns)), one.columns

    def answers(self, reader: Reader, questions: Sequence[Joinable], budget: int) -> Answers:
        (one,) = questions
        rows, _ = self.shape(reader, questions, budget)
        if not isinstance(one, Look):
            return _by_itself(reader, one)
        found = [part.answer(reader.denoiser) for part in one.parts(rows)]
        return Answers([stacked(found)], one.xt.numel(), len(found))


MERGINGS: Registry[Merging] = Registry("merging", {"padded": Padded(), "fixed": Fixed(), "alone": Alone()})
"""The first is the fastest; by the others a text never hangs on who else is there."""


def _by_itself(reader: Reader, question: Joinable) -> Answers:
    return Answers([question.answer(reader.denoiser)], question.tokens, 1)
