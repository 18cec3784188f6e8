"""Our sampling loop against a bare pass of the network, the loops of others, and autoregressive generation.

python benchmarks/speed.py --size base --batch 1 --rounds 3 --save docs/results/speed-base-1.md
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import tyro
from peers import llada_loop
from shapes import MASK_ID, SIZES, network
from timing import machine, table, take_turns
from torch import Tensor, nn
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, set_seed

import textdiffusion as td
from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import denoiser_of, set_block_size
from textdiffusion.denoisers.int8 import quantise

GIVEN, NEW, STEPS, BLOCK = 16, 240, 16, 16
Contestant = Callable[[], object]


def main(
    size: str = "base", batch: int = 1, rounds: int = 3, seed: int = 0, save: Path | None = None
) -> None:
    """Race on 256 tokens, 16 of them given, with random weights."""
    tokens = _canvas(batch, seed)
    encoder, rounded = (network(size, seed=seed).eval() for _ in range(2))
    quantise(rounded)
    work = batch * NEW
    parts = [
        f"# Sampling speed, {size}, batch {batch}: {NEW} new tokens after {GIVEN}, random weights",
        f"{machine()}; {rounds} rounds in turn after a warm-up, seed {seed}.",
        f"Command: `python benchmarks/speed.py --size {size} --batch {batch} --rounds {rounds} "
        f"--seed {seed}`",
        f"## In units of {STEPS} bare passes of the encoder without its head ({STEPS} steps)",
        _against("bare encoder", _overheads(encoder, tokens, seed), rounds, work),
        f"## Against the loop of LLaDA and dllm ({STEPS} steps; blocks of 30 in 2 steps each)",
        *_pairs(_others(encoder, tokens, seed), rounds, work),
        "## Against transformers' generate with a cache, on a GPT-2 of the same size",
        _against("GPT-2, generate", _autoregressive(size, encoder, rounded, tokens, seed), rounds, work),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


def _canvas(batch: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    prompt = torch.randint(
        5, min(size["vocab_size"] for size in SIZES.values()), (batch, GIVEN), generator=draws
    )
    return torch.cat([prompt, torch.full((batch, NEW), MASK_ID)], dim=1)


def _ours(denoiser: Denoiser, tokens: Tensor, seed: int, sampler: str, **options: object) -> Contestant:
    def run() -> Tensor:
        draws = torch.Generator().manual_seed(seed)
        return td.sample(denoiser, tokens, mask_id=MASK_ID, sampler=sampler, generator=draws, **options)

    return run


def _overheads(encoder: nn.Module, tokens: Tensor, seed: int) -> dict[str, Contestant]:
    @torch.inference_mode()
    def bare() -> None:
        for _ in range(STEPS):
            encoder.base_model(tokens, attention_mask=torch.ones_like(tokens))

    denoiser = denoiser_of(encoder)
    return {
        "bare encoder": bare,
        "random": _ours(denoiser, tokens, seed, "random", steps=STEPS),
        "ancestral": _ours(denoiser, tokens, seed, "ancestral", steps=STEPS),
        "confidence, greedy": _ours(denoiser, tokens, seed, "confidence", steps=STEPS, temperature=0.0),
        "confidence, temperature 1": _ours(denoiser, tokens, seed, "confidence", steps=STEPS),
        "confidence, top-k 50": _ours(denoiser, tokens, seed, "confidence", steps=STEPS, top_k=50),
    }


def _others(encoder: nn.Module, tokens: Tensor, seed: int) -> Mapping[str, tuple[Contestant, Contestant]]:
    """Pairs of the same rule: theirs and ours."""
    denoiser = denoiser_of(encoder)

    def theirs(steps: int, **options: object) -> Contestant:
        def run() -> Tensor:
            draws = torch.Generator().manual_seed(seed)
            return llada_loop(encoder, tokens, MASK_ID, steps, generator=draws, **options)

        return run

    def ours(steps: int, **options: object) -> Contestant:
        return _ours(denoiser, tokens, seed, "confidence", steps=steps, **options)

    pairs = {
        "greedy, whole canvas": (theirs(STEPS), ours(STEPS, temperature=0.0)),
        "greedy, blocks of 30": (theirs(STEPS, block=30), ours(STEPS, block_size=30, temperature=0.0)),
        "temperature 1": (theirs(STEPS, temperature=1.0), ours(STEPS)),
    }
    for name, (one, other) in list(pairs.items())[:2]:
        same = float((one() == other()).float().mean())  # type: ignore[attr-defined]
        print(f"{name}: {same:.1%} of the tokens are the same")
    return pairs


def _autoregressive(
    size: str, encoder: nn.Module, rounded: nn.Module, tokens: Tensor, seed: int
) -> dict[str, Contestant]:
    causal, causal8 = (_gpt2(size, seed) for _ in range(2))
    quantise(causal8)
    for model in (causal, causal8):
        set_block_size(model, BLOCK)
    settings = GenerationConfig(
        max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0, eos_token_id=None
    )

    def generate(model: GPT2LMHeadModel) -> Contestant:
        prompt = tokens[:, :GIVEN]
        return lambda: model.generate(
            prompt, attention_mask=torch.ones_like(prompt), generation_config=settings
        )

    found = {"GPT-2, generate": generate(causal), "GPT-2, generate, int8": generate(causal8)}
    for name, whole, blocks in (("", encoder, causal), (", int8", rounded, causal8)):
        for per_step in (8, 4, 2, 1):
            steps = NEW // per_step
            if per_step >= 4 or (size != "base" and len(tokens) == 1):  # else it takes minutes
                found[f"whole canvas, {per_step} tokens a step{name}"] = _ours(
                    denoiser_of(whole), tokens, seed, "random", steps=steps
                )
            found[f"blocks of {BLOCK}, {per_step} tokens a step{name}"] = _ours(
                denoiser_of(blocks), tokens, seed, "random", steps=steps
            )
    found["whole canvas in 8 steps"] = _ours(denoiser_of(encoder), tokens, seed, "random", steps=8)
    found["whole canvas in 8 steps, int8"] = _ours(denoiser_of(rounded), tokens, seed, "random", steps=8)
    return found


def _gpt2(size: str, seed: int) -> GPT2LMHeadModel:
    set_seed(seed)
    shape = SIZES[size]
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape["vocab_size"],
            n_embd=shape["hidden_size"],
            n_layer=shape["num_hidden_layers"],
            n_head=shape["num_attention_heads"],
            n_inner=shape["intermediate_size"],
            n_positions=512,
        )
    ).eval()


def _against(base: str, contestants: Mapping[str, Contestant], rounds: int, work: int) -> str:
    return table(take_turns(contestants, rounds), base, work, "tokens")


def _pairs(pairs: Mapping[str, tuple[Contestant, Contestant]], rounds: int, work: int) -> list[str]:
    return [
        _against("theirs: " + name, {"theirs: " + name: theirs, "ours: " + name: ours}, rounds, work)
        for name, (theirs, ours) in pairs.items()
    ]


if __name__ == "__main__":
    tyro.cli(main)
