"""The lean cross-entropy against torch's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.scoring import cross_entropy


def plain(logits: Tensor, target: Tensor, barred: int | None) -> Tensor:
    """The same by torch: a copy, the token barred, and cross_entropy."""
    clean = logits.float().clone()
    if barred is not None:
        clean[..., barred] = -torch.inf
    flat = torch.nn.functional.cross_entropy(clean.flatten(0, -2), target.flatten(), reduction="none")
    return flat.view(target.shape)


@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=2),
    vocab=st.integers(2, 9),
    barred=st.none() | st.integers(0, 8),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 999),
)
def test_same_loss_gradient_and_hits(
    shape: list[int], vocab: int, barred: int | None, scale: float, seed: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    barred = None if barred is None else barred % vocab
    logits = (torch.randn(*shape, vocab, generator=draws) * scale).requires_grad_()
    clean = [token for token in range(vocab) if token != barred]
    target = torch.tensor(clean)[torch.randint(0, len(clean), shape, generator=draws)]
    weight = torch.randn(*shape, generator=draws)
    expected = plain(logits, target, barred)
    (slope,) = torch.autograd.grad((expected * weight).sum(), logits)
    before = logits.detach().clone()
    found, correct = cross_entropy(logits, target, barred)
    (found * weight).sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, slope, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits, before)
    best = logits.detach()[..., clean].argmax(-1) if logits.numel() else target
    assert torch.equal(correct, torch.tensor(clean)[best] == target if logits.numel() else correct)


def test_gradient_by_differences() -> None:
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 2, 4])

    def loss(table: Tensor) -> Tensor:
        return cross_entropy(table, target, 1)[0]

    (slope,) = torch.autograd.grad(loss(logits.requires_grad_()).sum(), logits)
    step = torch.zeros_like(logits)
    step[1, 3] = 1e-3
    with torch.no_grad():
        difference = (loss(logits + step) - loss(logits - step)).sum() / 2e-3
    torch.testing.assert_close(slope[1, 3].double(), difference.double(), atol=1e-3, rtol=1e-3)


def test_half_precision_logits_give_float32_loss_and_a_gradient_of_their_own_kind() -> None:
    logits = torch.randn(4, 7, dtype=torch.bfloat16, requires_grad=True)
    nll, _ = cross_entropy(logits, torch.tensor([0, 1, 2, 3]), 6)
    nll.sum().backward()
    assert nll.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == torch.bfloat16
    torch.testing.assert_close(nll, plain(logits, torch.tensor([0, 1, 2, 3]), 6), atol=1e-4, rtol=1e-4)


def test_a_barred_target_is_impossible_and_a_high_barred_logit_harmless() -> None:
    logits = torch.tensor([[0.0, 1.0, 500.0]])
    nll, correct = cross_entropy(logits, torch.tensor([1]), 2)
    torch.testing.assert_close(nll, torch.tensor([1.0]).add(torch.tensor(-1.0).exp()).log())
    assert bool(correct)
    nll, correct = cross_entropy(logits, torch.tensor([2]), 2)
    assert bool(nll.isinf()) and not bool(correct)


def test_a_second_backward_pass_is_refused() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 1]), None)[0].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
