"""Measures a model for its card: held-out bound by source against an n-gram model, and samples by seed.

    python benchmarks/card.py --model starter --data STORIES --save docs/results/starter.md

The bound is the count form over windows of the model's length, each scored by itself; the n-gram model is
trained on the same training text in the same tokens, each document once, and sees across windows.
"""

import json
import lzma
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from ngram import NGram
from timing import machine

import textdiffusion as td
from textdiffusion.data.packing import pack_blocks


@dataclass(frozen=True)
class Bound:
    """Nats per token and bits per byte, each with its standard error."""

    nats: float
    nats_error: float
    bits_per_byte: float
    bits_error: float
    windows: int


@dataclass(frozen=True)
class Part:
    """One source of the test text."""

    bound: Bound
    ngram: float
    unigram: float
    """Nats of the whole text under the two count models."""
    tokens: int
    bytes: int


def main(
    data: Path,
    model: str = "starter",
    windows: int = 200,
    masks: int = 2,
    order: int = 5,
    length: int = 128,
    seed: int = 0,
    save: Path | None = None,
) -> None:
    """Measure on at most `windows` windows of each source of the test split, `masks` maskings each."""
    lm = td.load(model, device="cpu")
    train, test = _by_source(data, "train"), _by_source(data, "test")
    encode = lm.format.document
    baseline = NGram(
        _stream(encode([t for texts in train.values() for t in texts])), order, vocab=lm.vocab_size
    )
    unigram = NGram(_stream(encode([t for texts in train.values() for t in texts])), 1, vocab=lm.vocab_size)
    lines = [
        f"| test text | windows | nats per token | bits per byte | {order}-gram | unigram |",
        "|---|---|---|---|---|---|",
    ]
    parts: list[Part] = []
    for source, texts in sorted(test.items()):
        ids = encode(texts)
        tokens, size = sum(map(len, ids)), sum(len(text.encode()) for text in texts)
        bound = measure(lm, ids, size / tokens, windows=windows, masks=masks, seed=seed)
        nlls = [
            -float(g.log_probabilities(_stream(ids), lm.format.end_id or 0).sum())
            for g in (baseline, unigram)
        ]
        parts.append(Part(bound, nlls[0], nlls[1], tokens, size))
        lines.append(_row(source, parts[-1]))
    lines.append(_row("all", _total(parts)))
    samples = list(_samples(lm, length))
    options = f"--windows {windows} --masks {masks} --length {length} --seed {seed}"
    command = f"python benchmarks/card.py --model {model} --data STORIES {options}"
    share = _known_words(samples, train)
    text = "\n\n".join(
        [
            f"# {lm.name}: held-out bound and samples",
            f"{machine()}. Command: `{command}`",
            "\n".join(lines),
            f"{order}-gram and unigram in bits per byte. "
            f"Words of the samples that occur in the training text: {share:.1%}.",
            "## Samples by seed",
            *(
                f"Seed {seed}, prompt {prompt!r}:\n\n> " + text.strip().replace("\n", "\n> ")
                for seed, prompt, text in samples
            ),
        ]
    )
    print(text)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def measure(
    lm: td.DiffusionLM,
    ids: Sequence[Sequence[int]],
    bytes_per_token: float,
    *,
    windows: int,
    masks: int,
    seed: int,
) -> Bound:
    """The bound over a sample of the windows; the error is that of the mean over windows."""
    blocks = [row for row in pack_blocks(ids, lm.longest) if len(row) == lm.longest]
    order = np.random.default_rng(seed).permutation(len(blocks))[:windows]
    rows = torch.tensor([blocks[i] for i in order])
    source = torch.Generator().manual_seed(seed)
    found = torch.cat(
        [
            td.nelbo(lm.denoiser, part, mask_id=lm.format.mask_id, samples=masks, generator=source).mean
            for part in rows.split(16)
        ]
    )
    per_token = found / lm.longest
    nats, error = float(per_token.mean()), float(per_token.std() / len(found) ** 0.5)
    scale = 1.0 / math.log(2) / bytes_per_token
    return Bound(nats, error, nats * scale, error * scale, len(found))


def _total(parts: Sequence[Part]) -> Part:
    """The sources weighted by their size, as one text."""
    tokens, size = sum(p.tokens for p in parts), sum(p.bytes for p in parts)
    nats = sum(p.bound.nats * p.tokens for p in parts) / tokens
    error = math.sqrt(sum((p.bound.nats_error * p.tokens) ** 2 for p in parts)) / tokens
    scale = tokens / size / math.log(2)
    bound = Bound(nats, error, nats * scale, error * scale, sum(p.bound.windows for p in parts))
    return Part(bound, sum(p.ngram for p in parts), sum(p.unigram for p in parts), tokens, size)


def _row(name: str, part: Part) -> str:
    bound, scale = part.bound, math.log(2) * part.bytes
    return (
        f"| {name} | {bound.windows} | {bound.nats:.3f} ± {bound.nats_error:.3f} | "
        f"{bound.bits_per_byte:.3f} ± {bound.bits_error:.3f} | "
        f"{part.ngram / scale:.3f} | {part.unigram / scale:.3f} |"
    )


def _samples(lm: td.DiffusionLM, length: int) -> Iterator[tuple[int, str, str]]:
    for seed in range(10):
        prompt = "Once upon a time" if seed % 2 else ""
        yield seed, prompt, prompt + lm.generate(prompt, length=length, seed=seed).text


def _known_words(samples: Sequence[tuple[int, str, str]], train: Mapping[str, list[str]]) -> float:
    known = {word for texts in train.values() for text in texts for word in _words(text)}
    written = [word for _, _, text in samples for word in _words(text)]
    return sum(word in known for word in written) / max(1, len(written))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?", text.lower())


def _stream(ids: Sequence[Sequence[int]]) -> np.ndarray:
    return np.concatenate([np.asarray(row, dtype=np.uint64) for row in ids])


def _by_source(folder: Path, split: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob(f"{split}.jsonl*")):
        opener = lzma.open if path.suffix == ".xz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                found.setdefault(row.get("source", "text"), []).append(row.get("text") or row["content"])
    return found


if __name__ == "__main__":
    tyro.cli(main)
