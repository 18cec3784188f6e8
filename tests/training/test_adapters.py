"""LoRA: what is trained, what is saved, and that adapters are loaded wherever a model is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel

import textdiffusion as td
from textdiffusion.checkpoint import load_checkpoint, save_checkpoint
from textdiffusion.cli.main import main
from textdiffusion.errors import CheckpointError, SettingsError, TextDiffusionError, TrainingError
from textdiffusion.tokens import embeddings
from textdiffusion.training.optimizers import OPTIMIZERS

from .conftest import Recipe, ctrl_c

Run = Callable[..., str]
AtStep = Callable[[int, Callable[[], None]], None]
BLOCKS = {"objective": "block-nelbo", "objective_settings": {"block_size": 4}}
ALONE = {"lora": {"rank": 2, "dropout": 0.1, "merge": False}}
ONE_LINE = r"^[^\n]+\.$"


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.fixture
def adapters(recipe: Recipe, run: Run, gpt2: Path) -> Path:
    """The folder of adapters that turned a GPT-2 without a mask into a block diffusion model."""
    made = recipe("adapters", model=str(gpt2), steps=4, learning_rate=0.01, **BLOCKS, **ALONE)
    assert "the tokenizer had no mask token; added [MASK]" in run(made)
    return Path(made.output)


# -- what is trained -------------------------------------------------------------------------------------


def test_only_the_adapters_and_the_new_mask_learn(adapters: Path, gpt2: Path) -> None:
    before, after = load_checkpoint(str(gpt2)), load_checkpoint(str(adapters))
    mask = after.tokenizer.mask_token_id
    a, b = weights(before.model), weights(after.model)
    assert a.keys() == b.keys()
    learnt = {name for name in a if not torch.equal(a[name], b[name])}
    layers = {f"transformer.h.{n}.{part}.weight" for n in (0, 1) for part in LINEAR}
    assert learnt == layers | {"transformer.wte.weight"}
    rows = (a["transformer.wte.weight"] != b["transformer.wte.weight"]).any(1).nonzero()[:, 0]
    assert rows.tolist() == [mask]
    assert after.model.get_output_embeddings().weight is embeddings(after.model).weight


LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def test_what_is_said_for_the_first_time_learns_both_its_vectors(
    recipe: Recipe, run: Run, llama: Path, tmp_path: Path
) -> None:
    """Padding that stands behind an end and is learnt, in a network whose head is not its embeddings."""
    (tmp_path / "short.txt").write_text("the cat\n<|endoftext|>\na dog\n<|endoftext|>\n" * 12)
    rows = {"data": str(tmp_path / "short.txt"), "after_end": "pad", "arrange": "truncated"}
    made = recipe(model=str(llama), steps=4, learning_rate=0.01, **BLOCKS, **ALONE, **rows)
    run(made)
    before, after = load_checkpoint(str(llama)), load_checkpoint(made.output)
    changed = []
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        a, b = weights(before.model)[name], weights(after.model)[name]
        changed.append({int(row) for row in (a != b[: len(a)]).any(1).nonzero()})
    pad, mask = after.tokenizer.pad_token_id, after.tokenizer.mask_token_id
    assert changed == [{pad, mask}, {pad}]


def test_a_mask_that_was_there_is_left_alone(recipe: Recipe, run: Run, bert: Path) -> None:
    made = recipe(model=str(bert), steps=2, lora={"rank": 2, "targets": ["query", "value"], "merge": False})
    run(made)
    saved = load_file(Path(made.output) / "adapter_model.safetensors")
    start = "base_model.model.bert.encoder.layer.0.attention.self."
    assert {name.removeprefix(start) for name in saved} == {
        f"{part}.lora_{side}.weight" for part in ("query", "value") for side in "AB"
    }


def test_the_head_and_what_stands_above_the_body_get_no_adapters(
    recipe: Recipe, run: Run, bert: Path
) -> None:
    made = recipe(model=str(bert), steps=1, lora={"rank": 2, "merge": False})
    run(made)
    saved = load_file(Path(made.output) / "adapter_model.safetensors")
    assert len(saved) == 12, "two matrices for query, key, value and the three dense layers"
    assert all(".bert.encoder.layer.0." in name for name in saved)


def test_our_own_network_is_adapted_too(recipe: Recipe, run: Run) -> None:
    run(recipe("first", steps=2))
    made = recipe("second", model=recipe("first").output, steps=3, lora={})
    run(made)
    a, b = (weights(load_checkpoint(recipe(name).output).model) for name in ("first", "second"))
    learnt = {name.split(".")[-2] for name in a if not torch.equal(a[name], b[name])}
    assert learnt == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_a_trained_row_does_not_decay(adapters: Path, recipe: Recipe) -> None:
    model = load_checkpoint(str(adapters), merge=False).model
    matrices, rest = OPTIMIZERS["adamw"](model, recipe(weight_decay=0.1)).param_groups
    assert matrices["weight_decay"] == 0.1 and rest["weight_decay"] == 0.0
    assert {p.shape[0] == 2 or p.shape[1] == 2 for p in matrices["params"]} == {True}
    assert [tuple(p.shape) for p in rest["params"]] == [(1, 16)]


# -- what is saved, and loaded ---------------------------------------------------------------------------


def test_adapters_alone_are_a_small_folder(adapters: Path, gpt2: Path) -> None:
    names = {path.name for path in adapters.iterdir() if path.is_file()}
    assert {"adapter_config.json", "adapter_model.safetensors", "diffusion.json"} <= names
    assert not names & {"config.json", "model.safetensors"}
    assert json.loads((adapters / "adapter_config.json").read_text())["base_model_name_or_path"] == str(gpt2)


def test_merged_they_are_the_same_model_in_an_ordinary_folder(
    adapters: Path, recipe: Recipe, run: Run, gpt2: Path
) -> None:
    lora = {**ALONE["lora"], "merge": True}
    made = recipe("merged", model=str(gpt2), steps=4, learning_rate=0.01, **BLOCKS, lora=lora)
    run(made)
    names = {path.name for path in Path(made.output).iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert not {name for name in names if "adapter" in name}
    beside, into = load_checkpoint(str(adapters)), load_checkpoint(made.output)
    assert beside.settings == into.settings
    configs = [{**each.model.config.to_dict(), "_name_or_path": ""} for each in (beside, into)]
    assert configs[0] == configs[1]
    for name, p in weights(beside.model).items():
        torch.testing.assert_close(weights(into.model)[name], p)
    ids = torch.tensor([[3, 5, 7, 11]])
    logits = [
        model.eval()(ids).logits for model in (into.model, load_checkpoint(str(adapters), merge=False).model)
    ]
    torch.testing.assert_close(*logits)
    assert isinstance(AutoModelForCausalLM.from_pretrained(made.output), type(into.model))


def test_adapters_load_wherever_a_model_does(
    adapters: Path, recipe: Recipe, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    model = td.load(str(adapters), device="cpu")
    assert model.denoiser.block_size == 4, "which the model below does not have"
    written = model.generate("the cat", length=6, seed=1)
    code = main(["generate", "the cat", "--length", "6", "--seed", "1", "--model", str(adapters), "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["token_ids"] == written.token_ids
    for lora in (None, {"rank": 3}):
        name = "adapted" if lora else "whole"
        still = {"steps": 1, "learning_rate": 0.0}
        run(recipe(name, model=str(adapters), **still, **BLOCKS, lora=lora))
        for key, p in weights(load_checkpoint(recipe(name).output).model).items():
            torch.testing.assert_close(p, weights(model.model)[key])


def test_an_ordinary_model_takes_the_place_of_adapters_and_they_of_it(adapters: Path, gpt2: Path) -> None:
    merged, apart = load_checkpoint(str(adapters)), load_checkpoint(str(adapters), merge=False)
    save_checkpoint(adapters, merged)
    assert not list(adapters.glob("adapter_*"))
    torch.testing.assert_close(weights(load_checkpoint(str(adapters)).model), weights(merged.model))
    save_checkpoint(adapters, apart)
    assert not {"config.json", "model.safetensors"} & {path.name for path in adapters.iterdir()}
    torch.testing.assert_close(weights(load_checkpoint(str(adapters)).model), weights(merged.model))


def test_a_base_that_is_gone_is_named(recipe: Recipe, run: Run, bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "base")
    made = recipe(model=str(tmp_path / "base"), steps=1, lora={"merge": False})
    run(made)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        td.load(made.output, device="cpu")
    assert f"holds adapters of '{tmp_path / 'base'}'" in str(caught.value)


def forget_the_base(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))


def only_pickles(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    (folder / "other.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "said"), [(forget_the_base, "to which model"), (only_pickles, "no adapter_model.safetensors")]
)
def test_adapters_that_cannot_be_used_are_refused(
    adapters: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(adapters)
    with pytest.raises(CheckpointError, match=ONE_LINE) as caught:
        td.load(str(adapters), device="cpu")
    assert said in str(caught.value)


def test_a_missing_peft_is_named(
    adapters: Path, recipe: Recipe, run: Run, gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = r"the package peft, which is not installed; install textdiffusion\[lora\]\.$"
    with pytest.raises(SettingsError, match=said):
        run(recipe(model=str(gpt2), data="nowhere", lora={}))
    with pytest.raises(SettingsError, match=said):
        td.load(str(adapters), device="cpu")


def test_an_ordinary_token_that_is_the_mask_stays_it(
    recipe: Recipe, run: Run, gpt2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is added, neither merged nor beside, and its vector is left alone."""
    before = load_checkpoint(str(gpt2)).model
    for merge in (True, False):
        made = recipe(
            f"merge-{merge}", model=str(gpt2), steps=1, mask_token_id=300, **BLOCKS, lora={"merge": merge}
        )
        run(made)
        loaded = load_checkpoint(made.output)
        assert loaded.tokenizer.mask_token_id == 300
        assert loaded.model.config.vocab_size == len(loaded.tokenizer)
        table = embeddings(loaded.model).weight
        assert torch.equal(table, embeddings(before).weight[: len(table)])
    assert "the mask is the ordinary token" in caplog.text


# -- going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "ema"), [("gpt2", 0.9), ("bert", 0.0)])
def test_a_resumed_run_equals_one_that_went_through(
    recipe: Recipe, run: Run, at_step: AtStep, start: str, ema: float, request: pytest.FixtureRequest
) -> None:
    """With the network's dropout and that of the adapters."""
    model = str(request.getfixturevalue(start))
    changes: dict[str, Any] = {"model": model, "steps": 6, "save_every": 2, "ema": ema, "log_every": 1}
    changes |= {"eval_every": 2, "keep_best": 1} if ema else {}
    changes |= {**ALONE, "dropout": 0.2} | (BLOCKS if start == "gpt2" else {})
    whole, halved = recipe("whole", **changes), recipe("halved", **changes)
    run(whole)
    at_step(3, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(halved)
    run(halved, resume=True)
    a, b = (load_file(Path(made.output) / "adapter_model.safetensors") for made in (whole, halved))
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("begun", [None, {"rank": 2}])
def test_with_adapters_and_without_are_two_runs(
    recipe: Recipe, run: Run, bert: Path, begun: dict[str, Any] | None
) -> None:
    run(recipe(model=str(bert), steps=2, lora=begun))
    ended = None if begun else {"rank": 2}
    with pytest.raises(SettingsError, match=f"written {'with' if begun else 'without'} lora; go on as you"):
        run(recipe(model=str(bert), steps=4, lora=ended), resume=True)


# -- what is refused at once -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {}}, "lora adapts a model that is there"),
        ({"model": "x", "lora": {"rang": 2}}, "unknown key 'lora.rang'. Did you mean rank"),
        ({"model": "x", "lora": {"rank": 0}}, "lora has rank 0"),
        ({"model": "x", "lora": {"dropout": 1.0}}, "dropout from 0 to below 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(recipe: Recipe, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        recipe(**changes)


def test_a_target_that_is_no_layer_offers_the_nearest(recipe: Recipe, run: Run, bert: Path) -> None:
    with pytest.raises(TextDiffusionError, match=r"no linear layer is called 'querry'\. Did you mean query"):
        run(recipe(model=str(bert), lora={"targets": ["querry"]}))


def test_adapters_are_watched_for_numbers_that_are_none(recipe: Recipe, run: Run, bert: Path) -> None:
    made = recipe(model=str(bert), lora={}, learning_rate=1e30, clip=0.0, save_every=1, warmup=0.0)
    with pytest.raises(TrainingError, match=r"not numbers? at step"):
        run(made)
