"""Tiny corpora, recipes and networks: a whole training takes about a second."""

import io
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    TrainerState,
)

from textdiffusion.settings import from_mapping
from textdiffusion.training.callbacks import Samples
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.run import train
from textdiffusion.training.tokenizer import train_tokenizer

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "saw",
    "that",
    "dog",
    "run",
    "over",
    "the",
    "hill",
    "by",
    "the",
    "red",
    "sea",
]
NETWORK = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
Recipe = Callable[..., TrainingRecipe]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Sixty short texts of a dozen words."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(8, 16))) for _ in range(60)]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """The texts in a file, with blank lines between them."""
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    path.write_text("\n\n".join(texts), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> PreTrainedTokenizerBase:
    """A tokenizer of the texts."""
    return train_tokenizer(texts, 320, longest=16)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder of a tiny BERT with dropout and random weights."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=32, pad_token_id=tokenizer.pad_token_id, **NETWORK
    )
    assert config.hidden_dropout_prob > 0
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder of a tiny GPT-2 with dropout, a tied head and random weights; its tokenizer has no mask."""
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return causal(tmp_path_factory.mktemp("gpt2"), tokenizer, GPT2Config, sizes)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder of a tiny Llama whose head is not tied; its tokenizer has no mask."""
    sizes = {**NETWORK, "max_position_embeddings": 64, "tie_word_embeddings": False}
    return causal(tmp_path_factory.mktemp("llama"), tokenizer, LlamaConfig, sizes)


def causal(folder: Path, tokenizer: PreTrainedTokenizerBase, kind: Any, sizes: dict[str, Any]) -> Path:
    """Save a network with random weights and a tokenizer whose one special token begins and ends texts."""
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str().replace("[MASK]", "[SPARE]"))
    own = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[EOS]", eos_token="[EOS]")
    ends = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(kind(vocab_size=len(own), **sizes, **ends)).save_pretrained(folder)
    own.save_pretrained(folder)
    return folder


def small_recipe(corpus: Path, output: Path, **changes: Any) -> TrainingRecipe:
    """A recipe of seven steps an epoch."""
    given: dict[str, Any] = {
        "data": str(corpus),
        "output": str(output),
        "length": 16,
        "vocab_size": 320,
        "network": NETWORK,
        "steps": 14,
        "batch_size": 4,
        "accumulation": 2,
        "log_every": 3,
        "save_every": 5,
        "device": "cpu",
        **changes,
    }
    return from_mapping(TrainingRecipe, given)


@pytest.fixture
def recipe(tmp_path: Path, corpus: Path) -> Recipe:
    """Makes a recipe of seven steps an epoch that writes to a folder of the test."""

    def make(output: str = "model", **changes: Any) -> TrainingRecipe:
        return small_recipe(corpus, tmp_path / output, **changes)

    return make


def training(made: TrainingRecipe, *, resume: bool = False) -> str:
    """Train, and return what was printed."""
    out = io.StringIO()
    train(made, resume=resume, console=Console(file=out, width=200))
    return out.getvalue()


@pytest.fixture
def run() -> Callable[..., str]:
    """Trains and returns what was printed."""
    return training


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Lets something happen while a step is on its way, once."""

    def plan(step: int, act: Callable[[], None]) -> None:
        done: list[int] = []

        def on_step_begin(self: Samples, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
            if state.global_step == step and not done:
                done.append(step)
                act()

        monkeypatch.setattr(Samples, "on_step_begin", on_step_begin)

    return plan


def ctrl_c() -> None:
    """What a terminal sends."""
    os.kill(os.getpid(), signal.SIGINT)
