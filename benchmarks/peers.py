"""The loops of the systems that came before, written anew from their description, for comparison only."""

import torch
from torch import Tensor, nn


@torch.inference_mode()
def confidence_loop(model: nn.Module, tokens: Tensor, mask_id: int, steps: int) -> Tensor:
    """RoBERTa diffusion of 2025-11, driven to a number of steps: all logits, argmax, the surest kept.

    Its own rule keeps what is above a threshold; here the share due is kept at each step, so that every
    contestant makes the same number of network calls.
    """
    tokens = tokens.clone()
    for step in range(steps):
        masked = tokens == mask_id
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits / 0.8
        confidence, best = logits.softmax(-1).max(-1)
        due = -(-int(masked.sum()) // (steps - step))
        chosen = confidence.masked_fill(~masked, -1.0).flatten().topk(due).indices
        tokens.view(-1)[chosen] = best.flatten()[chosen]
    return tokens


@torch.inference_mode()
def filtered_loop(
    model: nn.Module, tokens: Tensor, mask_id: int, steps: int, generator: torch.Generator
) -> Tensor:
    """DiffusionBert with Prefix and RoBERTa diffusion of 2025-06: every position filtered by itself.

    Logits everywhere, top-k 50, then top-p 0.95, one position after the other in Python; then each position
    is masked again with the probability of the step.
    """
    tokens, editable = tokens.clone(), tokens == mask_id
    for step in range(steps):
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        for row, column in editable.nonzero().tolist():
            scores = logits[row, column].clone()
            scores[scores < scores.topk(50).values[-1]] = -torch.inf
            ordered, order = scores.sort(descending=True)
            beyond = ordered.softmax(-1).cumsum(-1) > 0.95
            beyond[1:] = beyond[:-1].clone()
            beyond[0] = False
            scores[order[beyond]] = -torch.inf
            tokens[row, column] = torch.multinomial(scores.softmax(-1), 1, generator=generator)[0]
        rate = 1.0 - (step + 1) / steps
        again = torch.rand(tokens.shape, generator=generator) < rate
        tokens = torch.where(editable & again, mask_id, tokens)
    return tokens
