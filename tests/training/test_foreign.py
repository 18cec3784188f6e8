"""The settings file of another system: its table, its values, what it refuses, and a training by it."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from textdiffusion.checkpoint import load_checkpoint
from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.training.foreign import ROWS, DiffusionGPT, asks_to_resume, is_foreign, translated
from textdiffusion.training.recipe import TrainingRecipe, read_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/gpt2-to-diffusion.md"
ELSEWHERE = {"resume"}
"""What a row sets that is no key of a recipe."""
FILE = """{
  "pipeline": "diffusion", "init_from": "", "memmap_path": "./data/train_7K.bin",
  "padded_dataset": true, "pad_masked_perc": 0.15, "pad_annealing_steps": 100, "context_length": 1024,
  "n_embd": 768, "n_layer": 12, "n_head": 12, "resume_training": false,
  "attn_annealing_steps": 1000, "mask_id": 10541, "eos_token_id": 50256, "pad_token_id": 50257,
  "n_epochs": 1, "n_steps": 100, "val_check_interval": 100, "val_test_perc": 0.05,
  "batch_size": 8, "accumulate_grad": 16, "grad_clip": 1.0,
  "betas": [0.9,0.95], "weight_decay": 0.01, "max_lr": 6e-4, "warmup_pct": 0.1,
  "div_factor": 25.0, "final_div_factor": 1e4,
  "enable_checkpointing": true, "save_dir": "./checkpoints/", "wandb": true, "run_name": "scratch",
  "project_name": "diffusion", "user_prompt": "Once upon a time", "n_samples": 1, "temperature": 0.9,
  "max_new_tokens": 10, "top_k": 50, "diffusion_steps": 4, "repetition_penalty": 1.2,
  "do_sample": false, "denoising_strategy": "entropy"
}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A whole file as that system has it, numbers with exponents included."""
    path = tmp_path / "config.json"
    path.write_text(FILE, encoding="utf-8")
    return path


# -- the table -----------------------------------------------------------------------------------------------


def test_every_key_of_theirs_has_a_row_in_their_order() -> None:
    keys = list(dict.fromkeys(row.key for row in ROWS if row.key))
    assert keys == [entry.name for entry in fields(DiffusionGPT)] == list(json.loads(FILE))


def test_every_row_says_something_or_sets_a_key_of_ours() -> None:
    ours = {entry.name for entry in fields(TrainingRecipe)} | ELSEWHERE
    named = {row.ours.partition(".")[0] for row in ROWS if row.ours}
    assert named <= ours
    assert all(row.remark for row in ROWS if not row.ours)


def test_the_page_holds_the_table() -> None:
    defaults = {entry.name: json.dumps(entry.default) for entry in fields(DiffusionGPT)}

    def code(text: str) -> str:
        return f"`{text}`" if text else ""

    expected = [
        f"| {code(row.key)} | {code(defaults.get(row.key, ''))} | {code(row.ours)} | {row.remark} |".replace(
            "  ", " "
        )
        for row in ROWS
    ]
    page = PAGE.read_text("utf-8")
    first = page.index("| its key |")
    table = re.split(r"\n\n", page[first:])[0].splitlines()[2:]
    assert table == expected


# -- the values ----------------------------------------------------------------------------------------------

COMMON: dict[str, Any] = {
    "data": "./data/train_7K.bin",
    "length": 1024,
    "epochs": 1,
    "steps": 100,
    "eval_every": 6,
    "validation_share": 0.05,
    "batch_size": 8,
    "accumulation": 16,
    "clip": 1.0,
    "betas": (0.9, 0.95),
    "weight_decay": 0.01,
    "learning_rate": 6e-4,
    "warmup": 0.1,
    "decay": "one-cycle",
    "decay_settings": {"div_factor": 25.0, "final_div_factor": 1e4},
    "keep_best": 3,
    "patience": 2,
    "min_delta": 1e-3,
    "precision": "auto",
    "output": "checkpoints/scratch",
    "report_to": "wandb",
    "run_name": "scratch",
    "project_name": "diffusion",
    "sample_prompt": "Once upon a time",
}
NEW = {
    "architecture": "gpt2",
    "tokenizer": "openai-community/gpt2",
    "network": {"n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
}


def theirs(**changes: Any) -> dict[str, Any]:
    return {**json.loads(FILE), **changes}


def test_diffusion_with_padding_from_nothing() -> None:
    assert translated(theirs()) == {
        **COMMON,
        **NEW,
        "objective": "cross-entropy",
        "shift": True,
        "arrange": "truncated",
        "after_end": "pad",
        "pad_share": 0.15,
        "pad_annealing": 100,
        "attention_annealing": 1000,
        "mask_token_id": 10541,
        "decoding": {"temperature": 0.9, "top_k": 50, "steps": 4, "sampler": "entropy"},
    }


def test_the_next_token_from_gpt2_without_anything_else() -> None:
    """Greedy, as it does not sample; nothing is sent anywhere unasked."""
    defaults = translated({"pipeline": "arm", "init_from": "gpt2-medium"})
    nobody = ("run_name", "project_name", "sample_prompt")
    assert defaults == {
        **COMMON,
        **dict.fromkeys(nobody, ""),
        "output": "checkpoints",
        "report_to": "none",
        "objective": "next-token",
        "model": "openai-community/gpt2-medium",
        "arrange": "blocks",
        "decoding": {"temperature": 0.0, "repetition_penalty": 1.2},
    }


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"init_from": "diffugpt"}, "model", "diffusionfamily/diffugpt-s"),
        ({"init_from": "runs/mine"}, "model", "runs/mine"),
        ({"val_check_interval": 5}, "eval_every", 1),
        ({"val_check_interval": 33}, "eval_every", 2),
        ({"enable_checkpointing": False}, "keep_best", 0),
        ({"padded_dataset": False}, "arrange", "blocks"),
        ({"pipeline": "arm", "do_sample": True, "top_k": None}, "decoding", {"temperature": 0.9}),
        ({"save_dir": ""}, "output", "scratch"),
        ({"wandb": False}, "report_to", "none"),
    ],
)
def test_values_follow_the_table(changes: dict[str, Any], key: str, expected: Any) -> None:
    found = translated(theirs(repetition_penalty=1.0, **changes))[key]
    if isinstance(expected, dict):
        found.pop("repetition_penalty")
    assert found == expected


@pytest.mark.parametrize(
    "name", ["pad_share", "pad_annealing", "attention_annealing", "mask_token_id", "shift"]
)
def test_what_belongs_to_diffusion_is_left_out_of_the_next_token(name: str) -> None:
    assert name in translated(theirs())
    assert name not in translated(theirs(pipeline="arm"))


def test_a_recipe_is_not_taken_for_one_of_them() -> None:
    assert is_foreign({"init_from": "gpt2"}) and is_foreign({"pipeline": "arm"})
    assert not is_foreign({"model": "gpt2", "betas": [0.9, 0.95], "weight_decay": 0.1})
    assert not is_foreign({entry.name: None for entry in fields(TrainingRecipe)})


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_embd": "768"}, r"^n_embd: expected int, got '768'\.$"),
        ({"n_steps": True}, r"^n_steps: expected int, got True\.$"),
        ({"n_epochs": 0.5}, r"^n_epochs: expected int, got 0\.5\.$"),
        ({"wandb": 1}, r"^wandb: expected bool, got 1\.$"),
        ({"max_lr": "fast"}, r"^max_lr: expected a number, got 'fast'\.$"),
        ({"betas": 0.9}, r"^betas: expected tuple"),
        ({"top_k": "all"}, r"^top_k: expected int"),
        ({"n_heads": 12}, r"^unknown key 'n_heads'\. Did you mean n_head"),
        ({"acumulate_grad": 2}, r"^unknown key 'acumulate_grad'\. Did you mean accumulate_grad"),
        ({"mask_id": 50256}, r"^mask_id 50256 is eos_token_id too"),
        ({"mask_id": 50257}, r"^mask_id 50257 is pad_token_id too"),
        ({"mask_id": 50300}, r"^mask_id 50300 is outside the vocabulary"),
        ({"mask_id": 60000, "init_from": "gpt2-xl"}, r"^mask_id 60000 is outside the vocabulary"),
        ({"mask_id": -1, "init_from": "runs/mine"}, r"^mask_id -1 is outside the vocabulary"),
        ({"n_head": 7}, r"^n_embd 768 is no multiple of n_head 7\.$"),
        ({"n_head": 0}, r"^n_head is 0; it must be at least 1\.$"),
        ({"accumulate_grad": 0}, r"^accumulate_grad is 0; it must be at least 1\.$"),
        ({"val_check_interval": 0}, r"^val_check_interval is 0; it must be at least 1\.$"),
        ({"init_from": "runs/best.ckpt"}, r"^init_from is 'runs/best\.ckpt', a pickle"),
    ],
)
def test_what_cannot_be_is_refused_in_its_own_words(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        translated(theirs(**changes))
    assert "\n" not in str(caught.value)


def test_other_pipelines_and_samplers_offer_the_nearest(config: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean diffusion"):
        translated(theirs(pipeline="difusion"))
    with pytest.raises(UnknownNameError, match="Did you mean entropy"):
        TrainingRecipe(decoding=translated(theirs(denoising_strategy="entropi"))["decoding"])


def test_ids_of_another_vocabulary_are_left_to_it() -> None:
    assert translated(theirs(mask_id=60000, init_from="runs/mine"))["mask_token_id"] == 60000
    translated(theirs(mask_id=50256, pipeline="arm"))  # which hides nothing


# -- reading and training ------------------------------------------------------------------------------------


def test_a_file_becomes_a_recipe_and_changes_override_it(config: Path) -> None:
    config.write_text(FILE.replace('"diffusion", "init_from": ""', '"arm", "init_from": "gpt2"'))
    found = read_recipe(config, {"steps": 7, "report_to": "none"})
    assert found.learning_rate == 6e-4
    assert found.decay_settings == {"div_factor": 25.0, "final_div_factor": 1e4}
    assert (found.steps, found.report_to, found.keep_best) == (7, "none", 3)
    assert found.model == "openai-community/gpt2"


def test_tabs_and_exponents_are_read_as_json_has_them(config: Path) -> None:
    config.write_text('{\n\t"pipeline": "arm",\n\t"init_from": "gpt2",\n\t"max_lr": 6e-4\n}\n')
    assert read_recipe(config, {}).learning_rate == 6e-4


def test_only_a_file_that_says_so_goes_on(config: Path, tmp_path: Path) -> None:
    assert not asks_to_resume(None)
    assert not asks_to_resume(config)
    config.write_text(json.dumps(theirs(resume_training=True)))
    assert asks_to_resume(config)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 3\n")
    assert not asks_to_resume(recipe)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The folder of a tiny GPT-2 whose tokenizer has neither mask nor padding."""
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str().replace("[MASK]", "[SPARE]"))
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[EOS]", eos_token="[EOS]")
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    ends = {"bos_token_id": plain.bos_token_id, "eos_token_id": plain.eos_token_id}
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=len(plain), **shape, **ends))
    model.save_pretrained(folder)
    plain.save_pretrained(folder)
    return folder


def test_a_training_by_such_a_file(tmp_path: Path, corpus: Path, gpt2: Path, run: Any) -> None:
    file = tmp_path / "config.json"
    settings = {
        "pipeline": "arm",
        "init_from": str(gpt2),
        "memmap_path": str(corpus),
        "context_length": 16,
        "n_steps": 4,
        "val_check_interval": 4,
        "batch_size": 4,
        "accumulate_grad": 2,
        "save_dir": str(tmp_path / "out"),
        "run_name": "fox",
        "user_prompt": "the cat",
    }
    file.write_text(json.dumps(settings))
    said = run(read_recipe(file, {"device": "cpu"}))
    assert sum(line.startswith("held out:") for line in said.splitlines()) == 2
    assert "the cat" in said
    found = load_checkpoint(str(tmp_path / "out/fox"))
    assert found.settings.decoding == {
        "sampler": "autoregressive",
        "temperature": 0.0,
        "repetition_penalty": 1.2,
    }


@pytest.mark.parametrize("start", ["loaded", "new"])
def test_a_diffusion_by_such_a_file(
    tmp_path: Path, corpus: Path, gpt2: Path, run: Any, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Attention opens by step, an ordinary token is the mask, and the model samples as the file says."""
    file = tmp_path / "config.json"
    settings = {
        "pipeline": "diffusion",
        "init_from": {"loaded": str(gpt2), "new": ""}[start],
        "memmap_path": str(corpus),
        "context_length": 16,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "attn_annealing_steps": 3,
        "mask_id": 300,
        "n_steps": 4,
        "val_check_interval": 4,
        "batch_size": 4,
        "accumulate_grad": 2,
        "save_dir": str(tmp_path / "out"),
        "user_prompt": "the cat",
        "diffusion_steps": 3,
        "denoising_strategy": "entropy",
    }
    file.write_text(json.dumps(settings))
    changes = {"device": "cpu"} | ({"tokenizer": str(gpt2)} if start == "new" else {})
    assert "the cat" in run(read_recipe(file, changes))
    assert "the mask is the ordinary token" in caplog.text
    found = load_checkpoint(str(tmp_path / "out"))
    assert found.tokenizer.mask_token_id == 300
    assert found.model.config.model_type == "gpt2"
    assert (found.model.config.n_layer, found.model.config.n_positions) == {
        "loaded": (1, 32),
        "new": (2, 16),
    }[start]
    assert found.settings.decoding == {"sampler": "entropy", "steps": 3, "temperature": 1.0}


def test_learnt_padding_is_read(config: Path) -> None:
    recipe = read_recipe(config, {})
    assert (recipe.after_end, recipe.pad_share, recipe.pad_annealing) == ("pad", 0.15, 100)
