"""Requests with an exact cache in one pass: each row has its own past, of its own length, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from ..denoisers import CachingDenoiser, Denoiser
from ..denoisers.transformer import KeyValues
from ..shapes import Logits, Positions, Times, Tokens, Where
from .questions import Answers, Joinable, asked, wider


@dataclass(frozen=True)
class Resumption(Joinable):
    """A call of our own network that goes on behind what it remembers of some texts."""

    past: KeyValues
    xt: Tokens
    t: Times
    attend: Bool[Tensor, "batch key"] | None
    positions: Positions
    where: Where
    block_size: int | None

    @property
    def rows(self) -> int:
        return self.xt.shape[0]

    @property
    def columns(self) -> int:
        return self.past.start + self.xt.shape[1]

    @property
    def tokens(self) -> int:
        return self.xt.numel() if self.attend is None else int(self.attend[:, self.past.start :].sum())

    @property
    def form(self) -> object:
        return Resumption, self.t.shape[1] == 1

    def answer(self, denoiser: Denoiser) -> Logits:
        assert isinstance(denoiser, CachingDenoiser)
        return denoiser.resume(
            self.past, self.xt, self.t, attend=self.attend, positions=self.positions, where=self.where
        )

    def together(
        self, others: Sequence["Resumption"], denoiser: Denoiser, *, rows: int, width: int, pad_id: int
    ) -> Answers:
        """In groups of so many rows; a request with more of them is answered in one pass all the same."""
        groups: list[list[Resumption]] = [[self]]
        for other in others:
            if sum(one.rows for one in groups[-1]) + other.rows > rows:
                groups.append([])
            groups[-1].append(other)
        answers = [_answers(group, denoiser, pad_id) for group in groups]
        columns = sum(answer.columns for answer in answers)
        return Answers([said for answer in answers for said in answer.logits], columns, len(groups))


def _answers(group: Sequence[Resumption], denoiser: Denoiser, pad_id: int) -> Answers:
    """One pass: all pasts are copied beside each other, and the new keys and values back to their own."""
    if len(group) == 1:
        return Answers([group[0].answer(denoiser)], group[0].xt.numel(), 1)
    width, start = max(one.xt.shape[1] for one in group), max(one.past.start for one in group)
    past = _beside([one.past for one in group], start, width)
    where = torch.cat([wider(one.where, width, False) for one in group])
    assert isinstance(denoiser, CachingDenoiser)
    logits = denoiser.resume(
        past,
        torch.cat([wider(one.xt, width, pad_id) for one in group]),
        torch.cat([one.t if one.t.shape[1] == 1 else wider(one.t, width, 0.0) for one in group]),
        attend=torch.cat([_seen(one, start, width) for one in group]),
        positions=torch.cat([wider(one.positions, width, 0) for one in group]),
        where=where,
    )
    _remember(group, past)
    counts = [int(asked(one.where).sum()) for one in group]
    return Answers(list(torch.split(logits, counts)), where.numel(), 1)


def _beside(pasts: Sequence[KeyValues], start: int, width: int) -> KeyValues:
    """A memory of the rows of all: what they remember before `start`, and room for `width` behind it."""
    layers, _, heads, _, size = pasts[0].keys.shape
    rows = sum(past.keys.shape[1] for past in pasts)
    keys, values = pasts[0].keys.new_zeros(2, layers, rows, heads, start + width, size)
    first = 0
    for past in pasts:
        here = slice(first, first + past.keys.shape[1])
        keys[:, here, :, : past.start] = past.keys[:, :, :, : past.start]
        values[:, here, :, : past.start] = past.values[:, :, :, : past.start]
        first = here.stop
    return KeyValues(keys, values, start)


def _remember(group: Sequence[Resumption], past: KeyValues) -> None:
    """Give each its own new keys and values."""
    first = 0
    for one in group:
        rows = slice(first, first + one.rows)
        new = slice(one.past.start, one.columns)
        here = slice(past.start, past.start + one.xt.shape[1])
        one.past.keys[:, :, :, new] = past.keys[:, rows, :, here]
        one.past.values[:, :, :, new] = past.values[:, rows, :, here]
        first = rows.stop


def _seen(one: Resumption, start: int, width: int) -> Bool[Tensor, "batch query key"]:
    """Who sees whom: a text's own past, and its own new tokens as far as the network's blocks allow."""
    own, queries = one.past.start, one.xt.shape[1]
    known = torch.ones(one.rows, one.columns, dtype=torch.bool, device=one.xt.device)
    known = known if one.attend is None else one.attend[:, : one.columns]
    seen = torch.zeros(one.rows, width, start + width, dtype=torch.bool, device=one.xt.device)
    seen[:, :queries, :own] = known[:, None, :own]
    seen[:, :queries, start : start + queries] = known[:, None, own:]
    if one.block_size is not None:
        block = torch.arange(own, one.columns, device=one.xt.device) // one.block_size
        seen[:, :queries, start : start + queries] &= block[:, None] >= block[None, :]
    return seen
