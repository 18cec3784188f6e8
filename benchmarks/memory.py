"""Bytes that a training step holds beside the weights: what is kept for the backward pass, and the peak.

python benchmarks/memory.py --save docs/results/memory.md

Counted in tensors, not in what an allocator took for them, so that the numbers come out the same every time.
"""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from shapes import MASK_ID, SIZES, network
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers.adapt import denoiser_of, recompute_activations
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.evaluation.memory import kept
from textdiffusion.objectives import BlockNelbo, CountNelbo, Objective
from textdiffusion.randomness import RowGenerator

MEGA = 1e6


class Live(TorchDispatchMode):
    """Bytes of the storages that were made in this context and are still there, and the most of them."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        """Leave out what is there already, of which views are made and which is changed in place."""
        super().__init__()
        self.now, self.peak = 0, 0
        self._there = {tensor.untyped_storage()._cdata for tensor in there}
        self._sizes = dict[int, int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what was asked, and look at what came out."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes and key not in self._there:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


@dataclass(frozen=True)
class Step:
    """One way to take a training step."""

    name: str
    ours: bool = True
    """Our own network, else RoBERTa's."""
    all_logits: bool = False
    """By the network's own masked-language-model loss, which makes the logits of all tokens."""
    recompute: bool = False
    block_size: int | None = None


STEPS = (
    Step("RoBERTa, all logits", ours=False, all_logits=True),
    Step("RoBERTa, asked logits", ours=False),
    Step("RoBERTa, asked logits, checkpointing", ours=False, recompute=True),
    Step("ours, all logits", all_logits=True),
    Step("ours, asked logits", all_logits=False),
    Step("ours, all logits, checkpointing", all_logits=True, recompute=True),
    Step("ours, asked logits, checkpointing", recompute=True),
    Step("ours, blocks of 16: [x_t ; x_0]", block_size=16),
    Step("ours, blocks of 16: [x_t ; x_0], checkpointing", block_size=16, recompute=True),
)


def main(
    size: str = "base", batch_size: int = 8, length: int = 256, seed: int = 0, save: Path | None = None
) -> None:
    """Weigh one step of each kind; the mask rates are spread over the batch, so half the tokens are asked."""
    lines = ["| step | kept MB | peak MB | kept kB per token |", "|---|---|---|---|"]
    for step in STEPS:
        held, peak = weigh(step, size, batch_size, length, seed)
        print(f"{step.name}: {held / MEGA:.1f} MB kept, {peak / MEGA:.1f} MB at most", flush=True)
        per_token = held / (batch_size * length) / 1e3
        lines.append(f"| {step.name} | {held / MEGA:.1f} | {peak / MEGA:.1f} | {per_token:.1f} |")
    text = "\n\n".join(
        [
            f"# Memory of a training step, {size}: {batch_size} texts of {length} tokens, float32",
            "*Kept* is what autograd keeps from the forward pass for the backward pass, weights left out, in "
            "bytes of distinct storages. *Peak* is the most of all tensors that the step made beside weights "
            "and their gradients, at any moment of both passes; with checkpointing one layer is whole then. "
            "Both are counted in tensors, so they are exact for torch's kernels on a CPU and the same on any "
            "machine. Fused kernels of a GPU keep less in the norms; an allocator takes more than it needs.",
            f"Command: `python benchmarks/memory.py --size {size} --batch-size {batch_size} "
            f"--length {length} --seed {seed}`, torch {torch.__version__}; "
            "one run, as chance decides on the number of masks alone.",
            "\n".join(lines),
        ]
    )
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def weigh(step: Step, size: str, batch_size: int, length: int, seed: int) -> tuple[int, int]:
    """Bytes kept after the forward pass, and the most bytes at any moment of both passes."""
    model = _network(step, size, seed).train()
    if step.recompute:
        recompute_activations(model)
    draws = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, SIZES[size]["vocab_size"], (batch_size, length), generator=draws)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    with Live([*model.parameters(), *gradients, tokens]) as live:
        with kept(model.parameters()) as found:
            loss = _plain(model, tokens, draws) if step.all_logits else _ours(step, model, tokens, seed)
        loss.backward()
    return found.bytes, live.peak


def _ours(step: Step, model: PreTrainedModel, tokens: Tensor, seed: int) -> Tensor:
    """The bound of diffusion, from the logits of the asked tokens alone."""
    objective: Objective = CountNelbo() if step.block_size is None else BlockNelbo(step.block_size)
    seen = torch.ones_like(tokens, dtype=torch.bool)
    generator = RowGenerator.for_batch(seed, 0, first=0, rows=len(tokens), total=len(tokens))
    scores = objective(denoiser_of(model), Absorbing(MASK_ID), Canvas(tokens, seen, seen), generator)
    return scores.nats.sum() / tokens.numel()


def _plain(model: PreTrainedModel, tokens: Tensor, draws: torch.Generator) -> Tensor:
    """Cross-entropy at masks that hide half of the tokens, as transformers computes it."""
    hit = torch.rand(tokens.shape, generator=draws) < 0.5
    loss: Tensor = model(
        input_ids=tokens.masked_fill(hit, MASK_ID), labels=tokens.masked_fill(~hit, -100)
    ).loss
    return loss


def _network(step: Step, size: str, seed: int) -> PreTrainedModel:
    if not step.ours:
        return network(size, dropout=0.0, seed=seed)
    torch.manual_seed(seed)
    shape = {**SIZES[size], "intermediate_size": round(SIZES[size]["intermediate_size"] * 2 / 3)}
    return DiffusionTransformerForMaskedLM(
        DiffusionTransformerConfig(**shape, block_size=step.block_size, mask_token_id=MASK_ID)
    )


if __name__ == "__main__":
    tyro.cli(main)
