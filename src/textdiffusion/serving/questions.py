"""What requests ask the network: what others may join, and what is asked by itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoisers import Denoiser
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where


@dataclass(frozen=True)
class Apart:
    """A question that no other can join: soft tokens, hidden states, memories of other kinds than ours."""

    call: Callable[[], Any]
    tokens: int
    """Tokens that it reads."""


class Joinable(ABC):
    """A question about some texts that may be answered in one pass with others of its kind."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Texts."""

    @property
    @abstractmethod
    def columns(self) -> int:
        """Tokens of a text that take part, remembered ones included."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """Tokens of text that are read."""

    @property
    @abstractmethod
    def form(self) -> object:
        """Questions of equal form may be joined."""

    @abstractmethod
    def answer(self, denoiser: Denoiser) -> Logits:
        """What the denoiser says of it by itself."""

    @abstractmethod
    def together(
        self, others: Sequence[Any], denoiser: Denoiser, *, rows: int, width: int, pad_id: int
    ) -> "Answers":
        """The answers to this and to `others`, padded to `width`, in passes of at most so many `rows`."""


@dataclass(frozen=True)
class Answers:
    """What passes have said, and what they read."""

    logits: Sequence[Tensor]
    """For each question."""
    columns: int
    """Tokens that were read, padding included."""
    passes: int


@dataclass(frozen=True)
class Look(Joinable):
    """A call of a denoiser about whole texts."""

    xt: Tokens
    t: Times
    attend: Where | None
    positions: Positions
    where: Where | None

    @classmethod
    def of(
        cls, xt: Tokens, t: Times, attend: Where | None, positions: Positions | None, where: Where | None
    ) -> "Look":
        """With positions that are counted, where none are given."""
        if positions is None:
            positions = torch.arange(xt.shape[1], device=xt.device).expand_as(xt)
        return cls(xt, t, attend, positions, where)

    @property
    def rows(self) -> int:
        return self.xt.shape[0]

    @property
    def columns(self) -> int:
        return self.xt.shape[1]

    @property
    def tokens(self) -> int:
        return self.xt.numel() if self.attend is None else int(self.attend.sum())

    @property
    def form(self) -> object:
        return Look, self.t.shape[1] == 1, self.where is None

    @property
    def seen(self) -> Where:
        """The keys that may be seen."""
        return torch.ones_like(self.xt, dtype=torch.bool) if self.attend is None else self.attend

    def answer(self, denoiser: Denoiser) -> Logits:
        return denoiser(self.xt, self.t, attend=self.attend, positions=self.positions, where=self.where)

    def together(
        self, others: Sequence["Look"], denoiser: Denoiser, *, rows: int, width: int, pad_id: int
    ) -> Answers:
        looks = [self, *others]
        whole = joined(looks, width, pad_id)
        found = [part.answer(denoiser) for part in whole.parts(rows)]
        return Answers(parted(stacked(found), looks), whole.rows * width, len(found))

    def padded(self, width: int, pad_id: int) -> "Look":
        """The same texts with padding on the right up to `width`."""
        if width == self.columns:
            return self
        return Look(
            wider(self.xt, width, pad_id),
            self.t if self.t.shape[1] == 1 else wider(self.t, width, 0.0),
            wider(self.seen, width, False),
            wider(self.positions, width, 0),
            None if self.where is None else wider(self.where, width, False),
        )

    def parts(self, rows: int) -> "list[Look]":
        """The texts in parts of so many."""
        return [self.some(begin, begin + rows) for begin in range(0, self.rows, rows)]

    def some(self, begin: int, end: int) -> "Look":
        """The texts from `begin` to before `end`."""
        if begin == 0 and end >= self.rows:
            return self
        here = slice(begin, end)
        attend = None if self.attend is None else self.attend[here]
        where = None if self.where is None else self.where[here]
        return Look(self.xt[here], self.t[here], attend, self.positions[here], where)

    def everywhere(self, rows: int) -> "Look":
        """So many texts, the last one repeated, each asked about all over, and always with a mask."""
        place = torch.arange(rows, device=self.xt.device).clamp(max=self.rows - 1)
        return Look(self.xt[place], self.t[place], self.seen[place], self.positions[place], None)


Question = Apart | Joinable


def joined(looks: Sequence[Look], width: int, pad_id: int) -> Look:
    """All texts of these as one question; one mask for all is left out where there is no padding at all."""
    wide = [look.padded(width, pad_id) for look in looks]
    if len(wide) == 1:
        return wide[0]
    unmasked = all(look.attend is None for look in wide)
    return Look(
        torch.cat([look.xt for look in wide]),
        torch.cat([look.t for look in wide]),
        None if unmasked else torch.cat([look.seen for look in wide]),
        torch.cat([look.positions for look in wide]),
        None if wide[0].where is None else torch.cat([asked(look.where) for look in wide]),
    )


def parted(logits: Logits, looks: Sequence[Look]) -> list[Tensor]:
    """What was said of each of the questions that were `joined`."""
    if looks[0].where is None:
        by_question = torch.split(logits, [look.rows for look in looks])
        return [said[:, : look.columns] for said, look in zip(by_question, looks, strict=True)]
    return list(torch.split(logits, [int(asked(look.where).sum()) for look in looks]))


def is_alone(attend: Attend | None) -> bool:
    """Whether a mask says query by query who sees whom, which padding cannot be added to."""
    return attend is not None and attend.ndim == 3


def asked(where: Where | None) -> Where:
    """The places, where it is known that there are some."""
    assert where is not None
    return where


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """One below the other."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def wider(part: Tensor, width: int, fill: float | int | bool) -> Tensor:
    """[rows, columns] with more columns on the right."""
    return F.pad(part, (0, width - part.shape[1]), value=fill)
