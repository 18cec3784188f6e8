"""Measurement."""

from .likelihood import Bound, Estimate, Method, Passage, nelbo, score

__all__ = ["Bound", "Estimate", "Method", "Passage", "nelbo", "score"]
