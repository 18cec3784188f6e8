"""Measurement."""

from .duel import Duel
from .likelihood import Bound, Estimate, Method, Passage, nelbo, score

__all__ = ["Bound", "Duel", "Estimate", "Method", "Passage", "nelbo", "score"]
