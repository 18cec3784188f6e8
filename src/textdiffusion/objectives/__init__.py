"""Objectives. A new one: one file here, one line in the table."""

from ..registry import Registry
from .base import Objective, Scores, Tunable
from .block_nelbo import BlockNelbo
from .cart import ContextWeighted
from .clipped import ClippedBlockNelbo
from .cross_entropy import CrossEntropy
from .curriculum import Duo
from .dcd import ConsistencyDistillation
from .distilling import Distilling
from .divergences import DIVERGENCES
from .end_position import EndPosition
from .nelbo import CountNelbo, Nelbo
from .next_token import NextToken
from .sdtt import SelfDistillation
from .symmetric_kl import FlowLMSymmetricKL, SymmetricKL

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective",
    {
        "nelbo": Nelbo,
        "nelbo-count": CountNelbo,
        "block-nelbo": BlockNelbo,
        "block-nelbo-clipped": ClippedBlockNelbo,
        "cross-entropy": CrossEntropy,
        "cart": ContextWeighted,
        "duo": Duo,
        "symmetric-kl": SymmetricKL,
        "symmetric-kl-flowlm": FlowLMSymmetricKL,
        "next-token": NextToken,
        "end-position": EndPosition,
        "sdtt": SelfDistillation,
        "dcd": ConsistencyDistillation,
    },
)

__all__ = [
    "DIVERGENCES",
    "OBJECTIVES",
    "BlockNelbo",
    "ClippedBlockNelbo",
    "ConsistencyDistillation",
    "ContextWeighted",
    "CountNelbo",
    "CrossEntropy",
    "Distilling",
    "Duo",
    "EndPosition",
    "FlowLMSymmetricKL",
    "Nelbo",
    "NextToken",
    "Objective",
    "Scores",
    "SelfDistillation",
    "SymmetricKL",
    "Tunable",
]
