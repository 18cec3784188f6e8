"""Discrete diffusion language models: train, sample, measure, show.

Names are loaded when first used, so that ``import textdiffusion`` is quick and brings neither torch nor
transformers; our own network is registered with the Auto classes of transformers as soon as both are there.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import _registration as _registration  # makes AutoModelForMaskedLM know our network

if TYPE_CHECKING:
    from .canvas import Canvas as Canvas
    from .evaluation import Estimate as Estimate
    from .evaluation import nelbo as nelbo
    from .generation import Decoding as Decoding
    from .generation import Frame as Frame
    from .generation import denoise as denoise
    from .generation import sample as sample
    from .language_model import DiffusionLM as DiffusionLM
    from .language_model import Generation as Generation
    from .language_model import load as load
    from .training import DiffusionCollator as DiffusionCollator

_HOMES = {
    "Canvas": "canvas",
    "Decoding": "generation",
    "DiffusionCollator": "training",
    "DiffusionLM": "language_model",
    "Estimate": "evaluation",
    "Frame": "generation",
    "Generation": "language_model",
    "denoise": "generation",
    "load": "language_model",
    "nelbo": "evaluation",
    "sample": "generation",
}


def _version() -> str:
    return str(importlib.import_module("importlib.metadata").version("textdiffusion"))


_COMPUTED = {"__version__": _version}

__all__ = [
    "Canvas",
    "Decoding",
    "DiffusionCollator",
    "DiffusionLM",
    "Estimate",
    "Frame",
    "Generation",
    "denoise",
    "load",
    "nelbo",
    "sample",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name in _COMPUTED:
        return _COMPUTED[name]()
    if name not in _HOMES:
        raise AttributeError(f"module 'textdiffusion' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, *_COMPUTED])
