"""Causal language models from a folder to text: loaded, given a mask, refused or trained."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
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
from textdiffusion import published as publications
from textdiffusion.checkpoint import load_checkpoint
from textdiffusion.cli.main import main
from textdiffusion.errors import SettingsError, UnknownNameError
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


def test_diffusion_from_what_only_predicts_the_next_token_is_allowed_and_called_poor(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = main(["generate", "the cat", "--model", str(folder), "--length", "4", "--sampler", "confidence"])
    assert code == 0
    assert "its text will be poor; use the sampler autoregressive" in caplog.text


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
    model, _ = trained(tmp_path / "next-token-model", objective="nelbo")
    assert not model.denoiser.next_token
    assert model.denoiser.shift  # a habit that it keeps
    model.generate("the cat", length=4, sampler="random")
    model, _ = trained(tmp_path / "nelbo-model", objective="nelbo-count", shift=False)
    assert not model.denoiser.shift


# -- whole texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [None, True, False])
def test_it_becomes_a_diffusion_model_of_whole_texts(folder: Path, shift: bool | None) -> None:
    options = {"attention_annealing": 6, "attention_ramp": "cosine", "attention_per_row": shift is True}
    model, said = trained(folder, objective="nelbo", shift=shift, **options)
    assert "held out" in said
    assert "sample:" in said
    assert model.denoiser.block_size is None
    assert model.denoiser.shift is (shift is not False)
    written = model.generate("the cat", length=8, sampler="entropy", steps=4)
    assert written.nfe == 4
    assert model.format.mask_id not in written.token_ids
    assert model.fill("the [MASK:2] sat").generated_tokens == 2


def test_annealing_is_for_whole_texts(folder: Path) -> None:
    with pytest.raises(SettingsError, match="reads blocks of 16; leave one of them out"):
        trained(folder, objective="block-nelbo", attention_annealing=5)
    with pytest.raises(
        SettingsError, match="shift is False, but the objective next-token needs the contrary"
    ):
        trained(folder, objective="next-token", shift=False)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_from_nothing_in_an_architecture_of_transformers(tmp_path: Path, architecture: str) -> None:
    tokenizer = like_gpt2()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.1}
    new = {"model": "", "architecture": architecture, "tokenizer": str(tmp_path / "tokenizer")}
    for objective, reading in (("next-token", (1, True)), ("nelbo", (None, True))):
        place = tmp_path / objective / "start"
        place.mkdir(parents=True)
        model, _ = trained(place, objective=objective, network=shape, dropout=0.0, **new)
        assert model.model.config.model_type == architecture
        assert (model.denoiser.block_size, model.denoiser.shift) == reading
        assert model.model.config.vocab_size % 8 == 0
        assert model.generate("the cat", length=4).generated_tokens <= 4


def test_unknown_architectures_and_shapes_are_refused(tmp_path: Path) -> None:
    new: dict[str, Any] = {"model": "", "objective": "nelbo"}
    with pytest.raises(UnknownNameError, match=r"no architecture named 'gpt-2'. Did you mean gpt2"):
        trained(tmp_path / "a", architecture="gpt-2", **new)
    with pytest.raises(SettingsError, match=r"unknown key 'network.n_layers'. Did you mean n_layer"):
        trained(tmp_path / "b", architecture="gpt2", network={"n_layers": 2}, **new)


# -- an existing token as the mask, and models that others published --------------------------------------


def test_an_ordinary_token_may_be_the_mask(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = like_gpt2()
    mask = tokenizer("cat", add_special_tokens=False)["input_ids"][-1]
    model, _ = trained(folder, objective="nelbo", mask_token_id=mask)
    assert "the mask is the ordinary token" in caplog.text
    assert model.format.mask_id == mask
    assert model.model.config.vocab_size == len(tokenizer)  # nothing was added
    assert mask not in model.generate("the", length=8).token_ids


@pytest.mark.parametrize(
    ("mask", "said"), [(10**6, "is outside the vocabulary"), (None, "already begins, ends or fills up texts")]
)
def test_what_cannot_be_the_mask(folder: Path, mask: int | None, said: str) -> None:
    wrong = like_gpt2().eos_token_id if mask is None else mask
    with pytest.raises(SettingsError, match=said) as caught:
        trained(folder, objective="nelbo", mask_token_id=wrong)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_with_a_mask_keeps_it(folder: Path) -> None:
    model, _ = trained(folder, objective="nelbo")
    place = folder.parent / "nelbo-model"
    with pytest.raises(SettingsError, match="the tokenizer's mask is '\\[MASK\\]'"):
        load_checkpoint(str(place), mask_id=5)
    assert load_checkpoint(str(place), mask_id=model.format.mask_id).tokenizer.mask_token == "[MASK]"


def test_a_checkpoint_under_the_names_of_diffugpt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are called denoise_model and embed_tokens, and an ordinary token is its mask."""
    tokenizer = like_gpt2()
    place = saved(tmp_path / "diffugpt", gpt2(tokenizer), tokenizer)
    plain = AutoModelForCausalLM.from_pretrained(place).eval()
    state = {
        name.replace("transformer.wte.", "embed_tokens.").replace("transformer.", "denoise_model."): value
        for name, value in plain.state_dict().items()
    }
    state["lm_head.weight"] = state["lm_head.weight"].clone()
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    row = next(iter(publications._BY_FIRST_NAME.values()))
    monkeypatch.setitem(publications._BY_FIRST_NAME, "denoise_model.", replace(row, mask_id=7))
    model = td.load(str(place), device="cpu")
    assert (model.denoiser.block_size, model.denoiser.shift, model.format.mask_id) == (None, True, 7)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.model.state_dict()[name], value)
    text = torch.tensor([[3, 5, 7, 9]])
    seen = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    with torch.no_grad():
        expected = plain(text, attention_mask=seen).logits[:, :-1]
        torch.testing.assert_close(model.denoiser(text, torch.zeros(1, 1))[:, 1:], expected)
    written = model.generate("the cat", length=6, steps=3)
    assert written.nfe <= 3
    assert 7 not in written.token_ids
    trained_on, _ = trained(place, objective="nelbo")
    assert trained_on.format.mask_id == 7
    assert "transformer.wte.weight" in load_file(tmp_path / "nelbo-model" / "model.safetensors")


def test_diffullama_is_known_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(publications._BY_NAME["diffusionfamily/diffullama"], mask_id=9)
    monkeypatch.setitem(publications._BY_NAME, str(folder), row)
    model = td.load(str(folder), device="cpu")
    assert (model.denoiser.block_size, model.denoiser.shift, model.format.mask_id) == (None, True, 9)
    assert model.generate("the cat", length=5, steps=2).nfe <= 2
