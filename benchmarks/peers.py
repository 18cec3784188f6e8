"""The loops of the systems that came before, written anew from their description, for comparison only."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@torch.inference_mode()
def llada_loop(
    model: nn.Module,
    tokens: Tensor,
    mask_id: int,
    steps: int,
    *,
    block: int | None = None,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """LLaDA (arXiv:2502.09992), low-confidence remasking; dllm's masked sampler has the same costs.

    Logits everywhere at every step, a temperature by Gumbel noise in float64 over all of them, a softmax over
    all of them, then the surest positions of the block, text by text. The holes must end every text.
    """
    tokens, first = tokens.clone(), int((tokens[0] == mask_id).nonzero()[0])
    length = tokens.shape[1] - first
    block = length if block is None else block
    if length % block or steps % (length // block):
        raise ValueError(f"{length} tokens in blocks of {block} do not go into {steps} steps.")
    steps_here = steps // (length // block)
    for begin in range(first, tokens.shape[1], block):
        masks = (tokens[:, begin : begin + block] == mask_id).sum(1, keepdim=True)
        counts = masks // steps_here + (torch.arange(steps_here) < masks % steps_here)
        for step in range(steps_here):
            masked = tokens == mask_id
            logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
            noisy = logits
            if temperature:
                wide = logits.double()
                noise = torch.rand(wide.shape, generator=generator, dtype=torch.float64)
                noisy = wide.exp() / (-noise.log()) ** temperature
            best = noisy.argmax(-1)
            confidence = logits.softmax(-1).gather(-1, best[..., None])[..., 0]
            confidence[:, begin + block :] = -torch.inf
            confidence = confidence.masked_fill(~masked, -torch.inf)
            for row in range(len(tokens)):
                chosen = confidence[row].topk(int(counts[row, step])).indices
                tokens[row, chosen] = best[row, chosen]
    return tokens


def own_code_of_llada(checkout: Path) -> Callable[..., Tensor]:
    """The function `generate` of LLaDA's own generate.py, from a checkout that the user has, run as it is.

    Raises:
        FileNotFoundError: the folder has no generate.py.
    """
    file = checkout / "generate.py"
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there; give the folder of a checkout of LLaDA.")
    spec = importlib.util.spec_from_file_location("llada_generate", file)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate  # type: ignore[no-any-return]
