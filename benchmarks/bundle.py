"""Puts a trained model into the package as `starter`, its weights rounded to float16 to halve the download.

python benchmarks/bundle.py --model runs/starter
"""

import json
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from textdiffusion.checkpoint import STARTER, load_checkpoint, save_checkpoint


def main(model: Path, to: Path = STARTER) -> None:
    """Write config, tokenizer, settings and rounded weights; they are read back as float32."""
    save_checkpoint(to, load_checkpoint(str(model), dtype="float32"))
    weights = to / "model.safetensors"
    rounded = {name: value.to(torch.float16) for name, value in load_file(weights).items()}
    save_file(rounded, weights, metadata={"format": "pt"})
    config = json.loads((to / "config.json").read_text())
    assert config["dtype"] == "float32"  # what the weights are loaded as
    print(f"{to}: {weights.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    tyro.cli(main)
