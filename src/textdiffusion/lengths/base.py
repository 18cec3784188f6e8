"""Lengths as distributions over the places of a room, the part of a canvas that may be written."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..shapes import PerAsked, Times, Tokens, Where

Ended = Float[Tensor, "batch room"]
"""F(i), the chance that a text has ended at place i of its room or before; place 0 is its first new token."""


class LengthReader(ABC):
    """Reads, in one network call on a canvas with room for the longest text, where each text will end."""

    @abstractmethod
    def distribution(self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, xt: Tokens) -> Ended:
        """F for each text, as it stands in `xt`; never falling along the room.

        A text whose room is shorter than another's keeps its last value behind it.
        """


def cut(ended: Ended, quantile: float) -> Int[Tensor, " batch"]:
    """The smallest room of which a text needs no more with this probability, its end included.

    The whole room where F does not get that far.
    """
    short = (ended < quantile).sum(1)
    return (short + 1).clamp(max=ended.shape[1])


def in_room(numbers: PerAsked, room: Where) -> Ended:
    """Numbers of the places of all rooms, row by row, as a table of rooms from which prompts are left out.

    To have ended by i is the more likely the larger i is, but a network answers each place by itself and may
    contradict itself: the running maximum is the least change that makes the answers a distribution, and it
    leaves the place alone at which they first reach a quantile.
    """
    place = room.long().cumsum(1) - 1
    table = numbers.new_zeros(len(room), max(1, int(room.sum(1).max())))
    table[room.nonzero()[:, 0], place[room]] = numbers
    return table.cummax(1).values


def still_noise(corruption: Corruption, canvas: Canvas, xt: Tokens) -> tuple[Where, Times]:
    """Where a room still may hold noise, and the time at which so much of it does."""
    asked = canvas.editable & corruption.may_be_noise(xt)
    share = asked.sum(1) / canvas.editable.sum(1).clamp(min=1)
    return asked, corruption.schedule.inverse(1.0 - share[:, None]).float()
