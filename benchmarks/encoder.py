"""A pretrained BERT-type encoder with its vocabulary cut to the tokens of a text, ready to be trained.

python benchmarks/encoder.py --model ENCODER --data STORIES --to runs/encoder
textdiffusion train --model runs/encoder --data STORIES --objective cross-entropy --output runs/lm
"""

from collections import Counter
from pathlib import Path

import torch
import tyro
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizerFast

from textdiffusion.data.sources import read_documents


def main(model: Path, data: str, to: Path, least: int = 3) -> None:
    """Keep the special tokens, all single characters, and every token that occurs `least` times."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForMaskedLM.from_pretrained(model, use_safetensors=True, dtype=torch.float32)
    counts: Counter[int] = Counter()
    for text in read_documents(data, split="train"):
        counts.update(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids)
    kept = [
        i
        for i, word in enumerate(words)
        if i in special or counts[i] >= least or len(word.removeprefix("##")) == 1
    ]
    rows = network.get_input_embeddings().weight.data[kept]
    head = network.cls.predictions
    bias = head.bias.data[kept]
    network.resize_token_embeddings(len(kept))
    network.get_input_embeddings().weight.data.copy_(rows)
    head.bias.data.copy_(bias)
    to.mkdir(parents=True, exist_ok=True)
    (to / "vocab.txt").write_text("".join(f"{words[i]}\n" for i in kept), encoding="utf-8")
    BertTokenizerFast(str(to / "vocab.txt"), do_lower_case=True).save_pretrained(to)
    network.config.pad_token_id = kept.index(tokenizer.pad_token_id)
    network.save_pretrained(to)
    share = sum(counts[i] for i in kept) / counts.total()
    size = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"{to}: {len(kept):,} of {len(words):,} tokens, {share:.3%} of the text, {size:.1f} M parameters")


if __name__ == "__main__":
    tyro.cli(main)
