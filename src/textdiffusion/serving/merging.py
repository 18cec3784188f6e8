"""Which questions share a pass through the network, and in what shape: how fast, and how exactly alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..denoisers import Denoiser
from ..registry import Registry
from ..shapes import Logits
from .questions import Look, joined, parted


@dataclass(frozen=True)
class Answered:
    """What a pass has said, and what it read."""

    logits: Sequence[Logits]
    """For each question."""
    columns: int
    """Tokens that were read, padding included."""
    passes: int


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
    """A rule for passes; `budget` is how many tokens, padding included, a pass may read."""

    @abstractmethod
    def takes(self, reader: Reader, chosen: Sequence[Look], more: Look, budget: int) -> bool:
        """Whether one more question may share the pass of those that are chosen."""

    @abstractmethod
    def shape(self, reader: Reader, looks: Sequence[Look], budget: int) -> tuple[int, int]:
        """Texts and columns of the largest pass that answers these."""

    @abstractmethod
    def answers(self, reader: Reader, looks: Sequence[Look], budget: int) -> Answered:
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

    def takes(self, reader: Reader, chosen: Sequence[Look], more: Look, budget: int) -> bool:
        looks = [*chosen, more]
        widths = [reader.bucket(look.width) for look in looks]
        whole = max(widths) * sum(look.rows for look in looks)
        used = sum(width * look.rows for width, look in zip(widths, looks, strict=True))
        return whole <= budget and whole - used <= self.padding * whole

    def shape(self, reader: Reader, looks: Sequence[Look], budget: int) -> tuple[int, int]:
        width = reader.bucket(max(look.width for look in looks))
        return max(1, min(sum(look.rows for look in looks), budget // width)), width

    def answers(self, reader: Reader, looks: Sequence[Look], budget: int) -> Answered:
        rows, width = self.shape(reader, looks, budget)
        whole = joined(looks, width, reader.pad_id)
        found = [part.answer(reader.denoiser) for part in whole.parts(rows)]
        return Answered(parted(_cat(found), looks), whole.rows * width, len(found))


@dataclass(frozen=True)
class Fixed(Merging):
    """Every pass of a bucket has the same shape, whoever is in it: so many texts, asked about all over.

    What is missing is filled with copies. A text's arithmetic then hangs on its own length alone, as long as
    the memory suffices; it costs idle rows when few requests are there, and a vocabulary head everywhere.
    """

    rows: int = 8
    """Texts in a pass; fewer where the budget does not allow as many."""

    def takes(self, reader: Reader, chosen: Sequence[Look], more: Look, budget: int) -> bool:
        rows, width = self.shape(reader, chosen, budget)
        return reader.bucket(more.width) == width and sum(look.rows for look in chosen) + more.rows <= rows

    def shape(self, reader: Reader, looks: Sequence[Look], budget: int) -> tuple[int, int]:
        width = reader.bucket(looks[0].width)
        return max(1, min(self.rows, budget // width)), width

    def answers(self, reader: Reader, looks: Sequence[Look], budget: int) -> Answered:
        rows, width = self.shape(reader, looks, budget)
        parts = joined(looks, width, reader.pad_id).parts(rows)
        found = _cat([part.everywhere(rows).answer(reader.denoiser)[: part.rows] for part in parts])
        rows_of = zip(found.split([look.rows for look in looks]), looks, strict=True)
        own = [(said[:, : look.width], look.where) for said, look in rows_of]
        logits = [said if where is None else said[where] for said, where in own]
        return Answered(logits, len(parts) * rows * width, len(parts))


@dataclass(frozen=True)
class Alone(Merging):
    """No pass is shared: each question is asked as `DiffusionLM` would ask it, to the last bit."""

    def takes(self, reader: Reader, chosen: Sequence[Look], more: Look, budget: int) -> bool:
        return False

    def shape(self, reader: Reader, looks: Sequence[Look], budget: int) -> tuple[int, int]:
        (look,) = looks
        return max(1, min(look.rows, budget // look.width)), look.width

    def answers(self, reader: Reader, looks: Sequence[Look], budget: int) -> Answered:
        (look,) = looks
        rows, _ = self.shape(reader, looks, budget)
        found = [part.answer(reader.denoiser) for part in look.parts(rows)]
        return Answered([_cat(found)], look.xt.numel(), len(found))


MERGINGS: Registry[Merging] = Registry("merging", {"padded": Padded(), "fixed": Fixed(), "alone": Alone()})
"""The first is the fastest; by the others a text never hangs on who else is there."""


def _cat(parts: Sequence[Logits]) -> Logits:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
