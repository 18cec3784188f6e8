"""The ways to read a length, and which of them a model has learnt."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..objectives.end_position import end_odds
from ..registry import Registry
from ..shapes import Tokens
from .base import Ended, LengthReader, in_room, still_noise
from .heads import LengthHead, Seen


@dataclass(frozen=True)
class EndReader(LengthReader):
    """From the vocabulary alone: what the network gives to the ends and to what stands behind them.

    Of a place that is written already, what is written there says whether the text has ended.
    """

    ends: tuple[int, ...]
    """Ids that end a text or stand behind its end."""

    @torch.no_grad()
    def distribution(self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, xt: Tokens) -> Ended:
        asked, t = still_noise(corruption, canvas, xt)
        logits = denoiser(xt, t, attend=canvas.attend, positions=canvas.positions, where=asked)
        said = end_odds(corruption.clean_logits(logits), self.ends).sigmoid()
        written = torch.isin(xt, torch.tensor(self.ends, device=xt.device)).to(said.dtype)
        return in_room(written.masked_scatter(asked, said)[canvas.editable], canvas.editable)


@dataclass(frozen=True)
class HeadReader(LengthReader):
    """By a small network that was fitted to the hidden states of this one."""

    head: LengthHead

    @torch.no_grad()
    def distribution(self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, xt: Tokens) -> Ended:
        return self.head.ended(seen(denoiser, corruption, canvas, xt))


def seen(denoiser: Denoiser, corruption: Corruption, canvas: Canvas, xt: Tokens) -> Seen:
    """The network's last hidden states at all places of the rooms.

    Raises:
        IncompatibleError: it is a network without any, such as a plain function.
    """
    _, t = still_noise(corruption, canvas, xt)
    hidden = denoiser.hidden(xt, t, attend=canvas.attend, positions=canvas.positions, where=canvas.editable)
    return Seen(hidden.float(), canvas.editable)


@dataclass(frozen=True)
class Learnt:
    """What a model has learnt of lengths."""

    ends: tuple[int, ...] = ()
    """Ids that end a text or stand behind its end, if it has learnt to fill a whole room with them."""
    head: LengthHead | None = None
    """A head that was fitted to it."""


LENGTH_READERS: Registry[Callable[[Learnt], LengthReader | None]] = Registry(
    "length-reader",
    {
        "head": lambda learnt: None if learnt.head is None else HeadReader(learnt.head),
        "end": lambda learnt: EndReader(learnt.ends) if learnt.ends else None,
    },
)
"""The best first: the reader of that name, or None for a model that has not learnt what it takes."""


def reader_of(learnt: Learnt) -> LengthReader | None:
    """The best way to read lengths that a model has learnt, if any."""
    found = (make(learnt) for make in LENGTH_READERS.values())
    return next((reader for reader in found if reader is not None), None)
