"""Corruption processes. A new one: one file here, one line in the table."""

from collections.abc import Callable
from functools import partial

from ..registry import Registry
from ..schedules import NoiseSchedule
from .absorbing import Absorbing
from .base import Corrupted, Corruption
from .mixture import MIXTURES, Mixture, Shares

Builder = Callable[[int, int, NoiseSchedule], Corruption]
"""(mask_id, vocab_size, schedule) -> corruption."""


def _absorbing(mask_id: int, vocab_size: int, schedule: NoiseSchedule) -> Corruption:
    return Absorbing(mask_id, schedule)


def _mixture(shares: Shares, mask_id: int, vocab_size: int, schedule: NoiseSchedule) -> Corruption:
    return Mixture(mask_id, vocab_size, shares, schedule)


CORRUPTIONS: Registry[Builder] = Registry(
    "corruption",
    {"absorbing": _absorbing, **{name: partial(_mixture, shares) for name, shares in MIXTURES.items()}},
)

__all__ = ["CORRUPTIONS", "Absorbing", "Corrupted", "Corruption", "Mixture", "Shares"]
