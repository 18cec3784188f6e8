"""Our sampling loop against a bare pass of the network, the loops of others, and autoregressive generation.

python benchmarks/speed.py --size base --batch 1 --rounds 3 --save docs/results/speed-base-1.md
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from peers import llada_loop, own_code_of_llada
from shapes import MASK_ID, SIZES, network
from timing import counting, machine, table, take_turns, wait_for
from torch import Tensor, nn
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, set_seed

import textdiffusion as td
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.int8 import quantise
from textdiffusion.evaluation.speed import Cost

GIVEN, NEW, STEPS, BLOCK = 16, 240, 16, 16
Contestant = Callable[[], object]


def main(
    size: str = "base",
    batch: int = 1,
    rounds: int = 3,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    llada: Path | None = None,
    overhead_only: bool = False,
    save: Path | None = None,
) -> None:
    """Race on 256 tokens, 16 of them given, with random weights; int8 only on a CPU.

    With `llada`, the folder of a checkout of that project, its own code runs beside our account of it. With
    `overhead_only` nobody else runs.
    """
    place, numbers = torch.device(device), getattr(torch, dtype)
    tokens = _canvas(batch, seed).to(place)
    encoder = network(size, seed=seed).eval().to(place, numbers)
    race = _Race(rounds, batch * NEW)
    overheads = race.costs(_overheads(encoder, tokens, seed))
    said = {"--llada CHECKOUT": llada, "--overhead-only": overhead_only}
    flags = "".join(f" {flag}" for flag, given in said.items() if given)
    parts = [
        f"# Sampling speed, {size}, batch {batch}: {NEW} new tokens after {GIVEN}, random weights",
        f"{machine(place)}; {dtype}; {rounds} rounds in turn after a warm-up, seed {seed}.",
        f"Command: `python benchmarks/speed.py --size {size} --batch {batch} --rounds {rounds} --seed {seed} "
        f"--device {device} --dtype {dtype}{flags}`",
        f"## In units of {STEPS} bare passes of the encoder without its head ({STEPS} steps)",
        table(overheads, "bare encoder", "tokens"),
    ]
    if not overhead_only:
        causal = _gpt2(size, seed).to(place, numbers)
        pairs = {"": (encoder, causal), **(_rounded(size, seed) if place.type == "cpu" else {})}
        against = race.costs(_autoregressive(pairs, tokens, seed, few=size == "base" or batch > 1))
        limits = _limits(encoder, causal, tokens, overheads["bare encoder"], against["GPT-2, generate"])
        parts += [
            f"## Against the loop of LLaDA and dllm ({STEPS} steps; blocks of 30 in 2 steps each)",
            *_others(race, encoder, tokens, seed, llada),
            "## Against transformers' generate with a cache, on a GPT-2 of the same size",
            table(against, "GPT-2, generate", "tokens"),
            limits,
        ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


def _rounded(size: str, seed: int) -> dict[str, tuple[nn.Module, nn.Module]]:
    """Encoder and GPT-2 with int8 weights."""
    pair = network(size, seed=seed).eval(), _gpt2(size, seed)
    for model in pair:
        quantise(model)
    return {", int8": pair}


@dataclass(frozen=True)
class _Race:
    """Rounds, and tokens written in each."""

    rounds: int
    work: int

    def costs(self, contestants: Mapping[str, Contestant]) -> dict[str, Cost]:
        """What each of the contestants needs."""
        return take_turns(contestants, self.rounds, self.work)


def _limits(encoder: nn.Module, causal: nn.Module, tokens: Tensor, bare: Cost, generate: Cost) -> str:
    """How near the bare passes come to the arithmetic of the machine, and generate to its memory."""
    weight = next(encoder.parameters())
    products, copies = (torch.rand(n, n, device=weight.device).to(weight.dtype) for n in (2048, 8192))
    size = float(products.shape[0])
    flops = 2 * size**3 / _fastest(lambda: products @ products, weight.device)
    bandwidth = 2 * copies.nbytes / _fastest(copies.clone, weight.device)
    layers = sum(p.numel() for p in encoder.base_model.parameters() if p.ndim == 2 and p.shape[0] < 10_000)
    reached = 2 * layers * tokens.numel() * STEPS / bare.median
    read = sum(p.nbytes for p in causal.parameters()) * NEW / generate.median
    return (
        f"The machine multiplies matrices of {size:.0f} at {flops / 1e9:,.0f} GFLOP/s and copies at "
        f"{bandwidth / 1e9:,.0f} GB/s in these numbers. The bare passes reach {reached / flops:.0%} of the "
        f"first (attention not counted), and generate reads its weights at {read / bandwidth:.0%} of the "
        "second."
    )


def _fastest(run: Callable[[], object], device: torch.device, times: int = 5) -> float:
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        wait_for(device)
        found.append(time.perf_counter() - begin)
    return min(found)


def _canvas(batch: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    prompt = torch.randint(
        5, min(size["vocab_size"] for size in SIZES.values()), (batch, GIVEN), generator=draws
    )
    return torch.cat([prompt, torch.full((batch, NEW), MASK_ID)], dim=1)


def _ours(network: nn.Module, tokens: Tensor, seed: int, sampler: str, **options: object) -> Contestant:
    denoiser = denoiser_of(network)

    def run() -> Tensor:
        draws = torch.Generator().manual_seed(seed)
        return td.sample(denoiser, tokens, mask_id=MASK_ID, sampler=sampler, generator=draws, **options)

    return counting(network, run)


def _overheads(encoder: nn.Module, tokens: Tensor, seed: int) -> dict[str, Contestant]:
    @torch.inference_mode()
    def bare() -> None:
        for _ in range(STEPS):
            encoder.base_model(tokens, attention_mask=torch.ones_like(tokens))

    return {
        "bare encoder": counting(encoder, bare),
        "random": _ours(encoder, tokens, seed, "random", steps=STEPS),
        "ancestral": _ours(encoder, tokens, seed, "ancestral", steps=STEPS),
        "confidence, greedy": _ours(encoder, tokens, seed, "confidence", steps=STEPS, temperature=0.0),
        "confidence, temperature 1": _ours(encoder, tokens, seed, "confidence", steps=STEPS),
        "confidence, top-k 50": _ours(encoder, tokens, seed, "confidence", steps=STEPS, top_k=50),
    }


def _others(race: _Race, encoder: nn.Module, tokens: Tensor, seed: int, llada: Path | None) -> Iterator[str]:
    """The same rule by each, and how many of the tokens are the same where nothing is drawn."""
    cases = {
        "greedy, whole canvas": (NEW, 0.0),
        "greedy, blocks of 30": (30, 0.0),
        "temperature 1": (NEW, 1.0),
    }
    for case, (block, temperature) in cases.items():

        def restated(block: int = block, temperature: float = temperature) -> Tensor:
            draws = torch.Generator().manual_seed(seed)
            return llada_loop(
                encoder, tokens, MASK_ID, STEPS, block=block, temperature=temperature, generator=draws
            )

        options = {"steps": STEPS, "block_size": block, "temperature": temperature}
        found = {
            "LLaDA's loop": counting(encoder, restated),
            "ours": _ours(encoder, tokens, seed, "confidence", **options),
        }
        if llada is not None:
            found["LLaDA's own code"] = counting(
                encoder, _own_code(llada, encoder, tokens, block, temperature, seed)
            )
        yield f"{case}:"
        yield table(race.costs(found), "LLaDA's loop", "tokens")
        if temperature == 0.0:
            texts = {name: run().result for name, run in found.items()}  # type: ignore[attr-defined]
            shares = {name: (text == texts["ours"]).float().mean() for name, text in texts.items()}
            same = "; ".join(f"{name}: {share:.2%}" for name, share in shares.items() if name != "ours")
            yield f"Tokens that are the same as ours: {same}."


def _own_code(
    llada: Path, encoder: nn.Module, tokens: Tensor, block: int, temperature: float, seed: int
) -> Contestant:
    generate = own_code_of_llada(llada)

    def run() -> Tensor:
        torch.manual_seed(seed)
        return generate(
            encoder,
            tokens[:, :GIVEN],
            steps=STEPS,
            gen_length=NEW,
            block_length=block,
            temperature=temperature,
            mask_id=MASK_ID,
        )

    return run


def _autoregressive(
    pairs: Mapping[str, tuple[nn.Module, nn.Module]], tokens: Tensor, seed: int, *, few: bool
) -> dict[str, Contestant]:
    """`pairs` are an encoder and a causal model for each kind of weights; `few` leaves out what is slow."""
    settings = GenerationConfig(
        max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0, eos_token_id=None
    )

    def generate(model: GPT2LMHeadModel) -> Contestant:
        prompt = tokens[:, :GIVEN]
        everywhere = torch.ones_like(prompt)
        return counting(
            model, lambda: model.generate(prompt, attention_mask=everywhere, generation_config=settings)
        )

    found: dict[str, Contestant] = {}
    for name, (whole, causal) in pairs.items():
        set_reading(causal, block_size=BLOCK, shift=False)
        found[f"GPT-2, generate{name}"] = generate(causal)
        found[f"whole canvas in 8 steps{name}"] = _ours(whole, tokens, seed, "random", steps=8)
        for per_step in (8, 4, 2, 1):
            steps = NEW // per_step
            if per_step == 8 or not few:
                found[f"whole canvas, {per_step} tokens a step{name}"] = _ours(
                    whole, tokens, seed, "random", steps=steps
                )
            found[f"blocks of {BLOCK}, {per_step} tokens a step{name}"] = _ours(
                causal, tokens, seed, "random", steps=steps
            )
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


if __name__ == "__main__":
    tyro.cli(main)
