"""Causal language models from a folder to text: loaded, given a mask, refused or trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

import textdiffusion as td
from textdiffusion.checkpoint import load_checkpoint
from textdiffusion.cli.main import main
from textdiffusion.errors import IncompatibleError
from textdiffusion.tokens import embeddings
from textdiffusion.training.tokenizer import train_tokenizer

SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


def like_gpt2() -> PreTrainedTokenizerFast:
    """A tokenizer whose one special token begins and ends texts."""
    inner = train_tokenizer(["the cat sat on the mat"], 280, longest=64)
    assert isinstance(inner, PreTrainedTokenizerFast)
    backend = Tokenizer.from_str(inner.backend_tokenizer.to_str().replace("[MASK]", "[SPARE]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[EOS]", eos_token="[EOS]")


def gpt2(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.2}
    return GPT2Config(vocab_size=len(tokenizer), **sizes, **ends(tokenizer))


def llama(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    return LlamaConfig(vocab_size=len(tokenizer), **SHAPE, **ends(tokenizer), tie_word_embeddings=False)


def ends(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}


def saved(folder: Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=[gpt2, llama])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A causal language model without a mask, whose head is tied, or not."""
    tokenizer = like_gpt2()
    return saved(tmp_path / "causal", request.param(tokenizer), tokenizer)


def test_a_mask_is_added_at_the_mean(folder: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(folder).eval()
    loaded = load_checkpoint(str(folder))
    network, mask = loaded.model, loaded.tokenizer.mask_token_id
    rows = embeddings(before).weight.shape[0]
    assert mask == rows == len(like_gpt2())
    torch.testing.assert_close(embeddings(network).weight[mask], embeddings(before).weight.mean(0))
    heads = [model.get_output_embeddings() for model in (before, network)]
    torch.testing.assert_close(heads[1].weight[mask], heads[0].weight.mean(0))
    assert (heads[1].weight is embeddings(network).weight) == (heads[0].weight is embeddings(before).weight)
    assert network.config.vocab_size == rows + 1
    text = torch.tensor([[3, 5, 7]])
    with torch.no_grad():
        torch.testing.assert_close(network(text).logits[..., :rows], before(text).logits)


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertLMHeadModel])
@pytest.mark.parametrize("said", [True, False])
def test_the_architecture_decides_where_both_are_possible(tmp_path: Path, kind: Any, said: bool) -> None:
    tokenizer = like_gpt2()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    kind(BertConfig(vocab_size=len(tokenizer), **SHAPE, is_decoder=True)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    if not said:
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": None}))
    assert type(load_checkpoint(str(tmp_path)).model) is (kind if said else BertForMaskedLM)


def test_what_only_predicts_the_next_token_must_first_be_trained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = td.load(str(folder), device="cpu")
    with pytest.raises(IncompatibleError, match=f"train --model {folder} --objective block-nelbo"):
        model.generate("the cat", length=4, sampler="confidence")
    code = main(["generate", "the cat", "--model", str(folder), "--length", "4", "--sampler", "confidence"])
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cannot fill masks" in said
