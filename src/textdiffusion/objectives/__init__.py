"""Objectives. A new one: one file here, one line in the table."""

from ..registry import Registry
from .base import Objective, Scores
from .cross_entropy import CrossEntropy
from .nelbo import CountNelbo, Nelbo

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective", {"nelbo": Nelbo, "nelbo-count": CountNelbo, "cross-entropy": CrossEntropy}
)

__all__ = ["OBJECTIVES", "CountNelbo", "CrossEntropy", "Nelbo", "Objective", "Scores"]
