"""Measurement."""

from .likelihood import Estimate, nelbo

__all__ = ["Estimate", "nelbo"]
