"""`textdiffusion evaluate poems`: the benchmark of completing poems, as published and put right."""

from collections.abc import Mapping, Sequence
from typing import Any

from .infill import contest

PRESET: Mapping[str, Any] = {
    "protocols": ("published", "corrected"),
    "clean": ("poem-lines", "slash-lines"),
    "separators": ("/",),
    "limit": 100_000,
    "seed": 42,
}
"""What is particular to poems."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Hold the contest on poems."""
    about = "Measure who completes poems: the benchmark of DiffusionBert with Prefix, and a corrected one."
    return contest(prog, about, argv, PRESET)
