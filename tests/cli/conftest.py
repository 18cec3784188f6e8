"""A tiny model folder with random weights, and the command run inside this process."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from textdiffusion.checkpoint import (
    Checkpoint,
    DiffusionTransformerForMaskedLM,
    ModelSettings,
    save_checkpoint,
)
from textdiffusion.cli.main import main
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig

SENTENCES = [
    "Once upon a time there was a little fox.",
    "The capital of France is Paris.",
    "The fox read all day long, and slept at night.",
]
SPECIAL = {"pad_token": "[PAD]", "mask_token": "[MASK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
LONGEST = 32


def make_tokenizer(special: dict[str, str]) -> PreTrainedTokenizerFast:
    """Byte-level pieces, so that any text can be written."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special.values()), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def save_model(folder: Path, special: dict[str, str], settings: ModelSettings, **shape: Any) -> Path:
    """A network of random weights with its tokenizer."""
    tokenizer = make_tokenizer(special)
    config = DiffusionTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
        **shape,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DiffusionTransformerForMaskedLM(config)
    save_checkpoint(folder, Checkpoint(network, tokenizer, settings))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return str(save_model(folder, SPECIAL, ModelSettings(length=LONGEST)))


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model that reads block by block, four tokens each."""
    folder = tmp_path_factory.mktemp("models") / "blocks"
    settings = ModelSettings(length=LONGEST)
    return str(save_model(folder, SPECIAL, settings, block_size=4, initializer_range=0.3))


@pytest.fixture(scope="session")
def maskless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose tokenizer has no mask."""
    special = {name: token for name, token in SPECIAL.items() if name != "mask_token"}
    return str(save_model(tmp_path_factory.mktemp("models") / "maskless", special, ModelSettings()))


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines; fails where anything else stands there."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line of standard error, with nothing on standard output."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command with these words; `stdin` is what is piped or typed into it."""

    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: str, stdin: str | io.StringIO = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin) if isinstance(stdin, str) else stdin)
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call
