"""Small networks that tell a length from the hidden states of a large one, which stays as it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..registry import Registry
from ..shapes import PerAsked, PerText, Where
from .base import Ended, in_room

_QUANTILES = 65


class Seen(NamedTuple):
    """What a network made of some rooms full of noise."""

    hidden: Float[Tensor, "asked width"]
    """Its last hidden states at the places of all rooms, row by row."""
    room: Where


class LengthHead(nn.Module, ABC):
    """From hidden states to the distribution of a length.

    The length of a text are its tokens without the end, which stands at the place of that number.
    """

    @abstractmethod
    def ended(self, seen: Seen) -> Ended:
        """F for each text, as `LengthReader.distribution` gives it."""

    @abstractmethod
    def loss(self, seen: Seen, lengths: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """What fitting makes small, in the mean over the texts."""

    def settle(self, texts: Iterable[tuple[Seen, Int[Tensor, " batch"]]]) -> None:
        """Learn from texts that were not fitted how far off the fitted head is."""


class TokenHead(LengthHead):
    """Asks of each place whether the text has ended there or before, by cross-entropy."""

    def __init__(self, layers: nn.Module) -> None:
        """Take layers from a hidden state to the log-odds of yes."""
        super().__init__()
        self.layers = layers

    def ended(self, seen: Seen) -> Ended:
        return in_room(self._odds(seen).sigmoid(), seen.room)

    def loss(self, seen: Seen, lengths: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        rows, places = _places(seen.room)
        truth = (places >= lengths[rows]).float()
        return F.binary_cross_entropy_with_logits(self._odds(seen), truth)

    def _odds(self, seen: Seen) -> PerAsked:
        odds: Tensor = self.layers(seen.hidden)
        return odds[:, 0]


class PooledHead(LengthHead):
    """Guesses log(1 + length) from the mean hidden state; how far it is off on other texts is the spread."""

    spread: Tensor
    """Quantiles of what a guess lacks, evenly spaced."""

    def __init__(self, width: int) -> None:
        """Make two layers for hidden states of this width."""
        super().__init__()
        self.layers = _two_layers(width)
        self.register_buffer("spread", torch.zeros(_QUANTILES))

    def ended(self, seen: Seen) -> Ended:
        rows, places = _places(seen.room)
        lacks = places.float().log1p() - self._guess(seen)[rows]
        below = torch.searchsorted(self.spread, lacks.contiguous(), right=True)
        return in_room(below.float() / len(self.spread), seen.room)

    def loss(self, seen: Seen, lengths: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        return F.mse_loss(self._guess(seen), lengths.float().log1p())

    @torch.no_grad()
    def settle(self, texts: Iterable[tuple[Seen, Int[Tensor, " batch"]]]) -> None:
        lacks = torch.cat([lengths.float().log1p() - self._guess(seen) for seen, lengths in texts])
        self.spread.copy_(lacks.quantile(torch.linspace(0.0, 1.0, _QUANTILES, device=lacks.device)))

    def _guess(self, seen: Seen) -> PerText:
        rows, _ = _places(seen.room)
        total = seen.hidden.new_zeros(len(seen.room), seen.hidden.shape[1]).index_add(0, rows, seen.hidden)
        guess: Tensor = self.layers(total / seen.room.sum(1, keepdim=True).clamp(min=1))
        return guess[:, 0]


def _places(room: Where) -> tuple[Int[Tensor, " asked"], Int[Tensor, " asked"]]:
    """The row and the place in its room of each hidden state."""
    return room.nonzero()[:, 0], (room.long().cumsum(1) - 1)[room]


def _two_layers(width: int) -> nn.Module:
    middle = max(1, width // 2)
    return nn.Sequential(nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, 1))


LENGTH_HEADS: Registry[Callable[[int], LengthHead]] = Registry(
    "length-head",
    {
        "linear": lambda width: TokenHead(nn.Linear(width, 1)),
        "mlp": lambda width: TokenHead(_two_layers(width)),
        "pooled": PooledHead,
    },
)
"""By name, for hidden states of a width: one layer or two on each place, or two on the mean of all."""
