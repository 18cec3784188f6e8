"""Texts that were damaged, and what a model makes of them. A new kind of damage: one line in `damages.py`."""

from .damages import DAMAGES, Vocabulary
from .restoring import Tried, restored, revise_damaged

__all__ = ["DAMAGES", "Tried", "Vocabulary", "restored", "revise_damaged"]
