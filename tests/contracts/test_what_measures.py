"""By what a network is measured that has learnt by an objective."""

import pytest
import torch
from torch import Tensor

from textdiffusion.corruptions import CORRUPTIONS
from textdiffusion.denoisers import as_denoiser
from textdiffusion.objectives import (
    BlockNelbo,
    ConsistencyDistillation,
    ContextWeighted,
    CountNelbo,
    CrossEntropy,
    Duo,
    EndPosition,
    FlowLMSymmetricKL,
    Nelbo,
    NextToken,
    Objective,
    SelfDistillation,
    SymmetricKL,
)
from textdiffusion.schedules import Linear

VOCAB, MASK = 12, 11


def even(ids: Tensor) -> Tensor:
    """Logits of a teacher that knows nothing."""
    return torch.zeros(*ids.shape, VOCAB)


@pytest.mark.parametrize(
    ("objective", "noise", "bound"),
    [
        (Nelbo(0.1), "absorbing", CountNelbo()),
        (CountNelbo(), "absorbing", CountNelbo()),
        (CrossEntropy(), "absorbing", CountNelbo()),
        (Nelbo(0.1), "bert", Nelbo(1e-5)),
        (CrossEntropy(), "uniform", Nelbo(1e-5)),
        (BlockNelbo(8, 0.3, 0.8), "absorbing", BlockNelbo(8)),
        (NextToken(), "absorbing", NextToken()),
        (ContextWeighted(), "absorbing", CountNelbo()),
        (Nelbo(0.1), "spindle", Nelbo(1e-5)),
        (EndPosition((3,)), "absorbing", EndPosition((3,))),
        (SelfDistillation(), "absorbing", CountNelbo()),
        (SelfDistillation().taught(as_denoiser(even), 0), "absorbing", CountNelbo()),
        (ConsistencyDistillation(), "uniform", Nelbo(1e-5)),
        (Duo(flip_high=0.8), "uniform", Nelbo(1e-5)),
        (SymmetricKL(), "uniform", Nelbo(1e-5)),
        (FlowLMSymmetricKL(), "uniform", Nelbo(1e-5)),
    ],
)
def test_a_network_is_measured_by_what_it_learns(objective: Objective, noise: str, bound: Objective) -> None:
    assert objective.bound(CORRUPTIONS[noise](MASK, VOCAB, Linear())) == bound
