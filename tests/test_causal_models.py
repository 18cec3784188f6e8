"""Causal language models from a folder to text: loaded, given a mask, refused or trained."""

import io
import json
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
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.run import train
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


# -- as it is: the autoregressive baseline ---------------------------------------------------------------


def test_as_it_is_it_writes_from_left_to_right(folder: Path) -> None:
    model = td.load(str(folder), device="cpu")
    both = model.generate(["the cat", "a"], length=6, seed=3)
    assert both[0].sampler == "autoregressive" and both[0].nfe <= 8
    alone = model.generate("the cat", length=6, seed=3)
    assert alone.token_ids == both[0].token_ids and 1 <= len(alone.token_ids) <= 6
    assert model.format.mask_id not in alone.token_ids
    assert model.settings.learns_end  # as it was trained elsewhere, on texts with an end


# -- trained ---------------------------------------------------------------------------------------------


def trained(folder: Path, **options: Any) -> tuple[td.DiffusionLM, str]:
    """A model trained for a moment from the one in `folder`, and what was said of it."""
    data, console = folder.parent / "texts.txt", Console(file=io.StringIO(), width=200)
    data.write_text("the cat sat on the mat. " * 60)
    sizes: dict[str, Any] = {"length": 16, "steps": 12, "batch_size": 2, "learning_rate": 0.01}
    recipe = TrainingRecipe(
        **{"model": str(folder), **sizes, "device": "cpu", "precision": "float32", **options},
        data=str(data),
        output=str(folder.parent / f"{options['objective']}-model"),
    )
    place = train(recipe, resume=False, console=console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    return td.load(str(place), device="cpu"), said


def test_it_becomes_a_block_diffusion_model(folder: Path) -> None:
    model, said = trained(folder, objective="block-nelbo", objective_settings={"block_size": 4})
    assert "held out" in said and "sample:" in said
    assert model.denoiser.block_size == 4 and not model.denoiser.next_token
    options = {"length": 12, "sampler": "confidence", "steps": 6}
    written, uncached = (
        model.generate("the cat", **options),
        model.generate("the cat", cache="none", **options),
    )
    assert uncached.token_ids == written.token_ids
    assert written.nfe < 12


def test_it_is_tuned_as_the_baseline(folder: Path) -> None:
    model, said = trained(folder, objective="next-token")
    assert "held out" in said and "sample:" in said
    assert model.denoiser.next_token
    assert model.generate("the cat", length=4).sampler == "autoregressive"


def test_our_own_network_is_a_baseline_too_and_learns_to_denoise(tmp_path: Path) -> None:
    tokenizer = like_gpt2()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    shape = {name: size for name, size in SHAPE.items() if name != "max_position_embeddings"}
    new = {"model": "", "tokenizer": str(tmp_path / "tokenizer"), "network": shape}
    model, _ = trained(tmp_path / "next-token-model", objective="next-token", **new)
    assert model.denoiser.next_token and model.generate("the cat", length=4).nfe == 4
    with pytest.raises(IncompatibleError, match="cannot fill masks"):
        model.generate("the cat", length=4, sampler="random")
    model, _ = trained(tmp_path / "next-token-model", objective="nelbo")
    assert not model.denoiser.next_token
    model.generate("the cat", length=4, sampler="random")


def test_whole_texts_are_nothing_for_what_sees_only_the_left(folder: Path) -> None:
    with pytest.raises(IncompatibleError, match="cannot learn to fill whole texts"):
        trained(folder, objective="nelbo")
