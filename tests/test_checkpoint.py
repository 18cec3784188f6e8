"""Model folders: what is wrong is said in one line, and writing one never breaks what was there."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from transformers import BertConfig, BertModel

import textdiffusion as td
from textdiffusion import checkpoint as module
from textdiffusion.checkpoint import (
    Checkpoint,
    ModelSettings,
    load_checkpoint,
    load_tokenizer,
    save_checkpoint,
    write_atomically,
    write_settings,
)
from textdiffusion.errors import CheckpointError, IncompatibleError, SettingsError, TextDiffusionError
from textdiffusion.training.network import new_network
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.tokenizer import train_tokenizer

SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TOKENIZER = train_tokenizer(["the cat sat on the mat and the dog ran"], 280, longest=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model folder."""
    path = tmp_path / "my-model"
    network = new_network(TrainingRecipe(network=SHAPE), TOKENIZER)
    save_checkpoint(path, Checkpoint(network, TOKENIZER, ModelSettings(length=32, learns_end=True)))
    return path


def test_a_saved_folder_comes_back(folder: Path) -> None:
    loaded = load_checkpoint(str(folder))
    assert loaded.settings == ModelSettings(length=32, learns_end=True)
    assert not loaded.model.training
    again = load_checkpoint(str(folder))
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.model.parameters(), strict=True)
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "diffusion.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["my-model"]
    assert folder.stat().st_mode & 0o777 == 0o755


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def only_config(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "config.json":
            path.unlink()


def broken_json(folder: Path) -> None:
    (folder / "diffusion.json").write_text('{"noise": ')


def unknown_key(folder: Path) -> None:
    (folder / "diffusion.json").write_text('{"noise_shedule": "linear"}')


def unknown_noise(folder: Path) -> None:
    write_settings(folder, ModelSettings(noise="absorbin"))


def no_language_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit", "architectures": None}))


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (truncate, CheckpointError, "damaged|cannot load the weights"),
        (only_pickles, CheckpointError, "incomplete: it has no safetensors weights"),
        (only_config, CheckpointError, "no safetensors weights and no tokenizer"),
        (broken_json, CheckpointError, r"diffusion\.json cannot be read .*damaged"),
        (unknown_key, SettingsError, "noise_shedule.*Did you mean noise_schedule"),
        (unknown_noise, TextDiffusionError, "Did you mean absorbing"),
        (no_language_model, CheckpointError, "cannot load the weights"),
    ],
)
def test_spoilt_folders_are_refused_in_one_line(
    folder: Path, spoil: Callable[[Path], None], kind: type[Exception], said: str
) -> None:
    spoil(folder)
    with pytest.raises(kind, match=said) as caught:
        td.load(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(folder: Path) -> None:
    large = train_tokenizer([chr(n) + chr(n + 1) for n in range(200, 900)], 600, longest=32)
    assert len(large) > len(TOKENIZER) + 8
    large.save_pretrained(folder)
    with pytest.raises(IncompatibleError, match=r"has 600 tokens but the model only \d+"):
        load_checkpoint(str(folder))


def test_a_folder_that_is_not_there_offers_its_neighbours(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="Did you mean my-model"):
        load_checkpoint(str(folder.parent / "my-modle"))
    with pytest.raises(CheckpointError, match=r"Hub id like owner/name, or starter\.$"):
        load_checkpoint(str(folder.parent / "nowhere" / "at-all"))
    with pytest.raises(CheckpointError, match="no model at"):
        load_tokenizer(str(folder.parent / "nowhere"))


def test_a_mistyped_folder_beside_others_is_no_hub_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    with pytest.raises(CheckpointError, match=r"no model at .*Did you mean my-model\?"):
        load_checkpoint(f"{folder.parent.name}/my-modle")


def test_the_hub_keeps_silent_while_a_model_is_loaded() -> None:
    before = hub_logging.get_verbosity()
    with module.quiet_transformers():
        assert not hub_logging.get_logger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING)
    assert hub_logging.get_verbosity() == before


def cached(folder: Path, name: str) -> Path:
    """A copy of a folder where the Hub would keep it."""
    model = folder.parent / "cache" / name
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text("0" * 40)
    return shutil.copytree(folder, model / "snapshots" / ("0" * 40))


@pytest.mark.parametrize("has_settings", [True, False])
def test_a_model_of_the_hub_keeps_its_settings(
    folder: Path, monkeypatch: pytest.MonkeyPatch, has_settings: bool
) -> None:
    snapshot = cached(folder, "models--me--mine")
    if not has_settings:
        (snapshot / "diffusion.json").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder.parent / "cache"))
    expected = ModelSettings(length=32, learns_end=True) if has_settings else ModelSettings()
    assert load_checkpoint("me/mine").settings == expected


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("raising an error. For details look at the above report!"),
        ValueError("Couldn't instantiate the backend tokenizer from one of:\n(1) a file"),
        OSError(""),
    ],
)
def test_no_message_ends_in_the_middle(folder: Path, error: Exception) -> None:
    def load() -> None:
        raise error

    with pytest.raises(CheckpointError) as caught:
        module._guarded(str(folder), "weights", load)
    said = "its files are missing, damaged or do not belong together: copy or save the model again."
    assert str(caught.value) == f"cannot load the weights of {str(folder)!r}; {said}"


def answer(error: Exception) -> Callable[..., None]:
    """A Hub that has nothing but this to say."""

    def raising(url: str) -> None:
        raise error

    return raising


def unknown_to_the_hub() -> RepositoryNotFoundError:
    return RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))


@pytest.mark.parametrize("name", ["nobody/nothing-here", "bert-base-uncased"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OfflineModeIsEnabled("HF_HUB_OFFLINE"), "the Hub cannot be reached"),
        (RuntimeError("[Errno -2] Name or service not known"), "the Hub cannot be reached"),
        (unknown_to_the_hub(), "the Hub has none of that name"),
    ],
)
def test_a_hub_id_that_cannot_be_had_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, said: str
) -> None:
    monkeypatch.setattr(module, "get_hf_file_metadata", answer(error))
    monkeypatch.setattr(module.AutoTokenizer, "from_pretrained", never)
    with pytest.raises(CheckpointError, match=f"no model at '{name}': .*{said}") as caught:
        load_checkpoint(name)
    assert "\n" not in str(caught.value)


def never(*given: object, **named: object) -> None:
    pytest.fail("asked although the answer was known")


@pytest.mark.parametrize(
    ("name", "meant"), [("straters", "starter"), ("startr", "starter"), ("my-modle", "my-model")]
)
def test_a_slip_is_answered_without_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(module, "get_hf_file_metadata", never)
    with pytest.raises(CheckpointError, match=rf"no model at '{name}'\. Did you mean {meant}\?"):
        load_checkpoint(name)


def test_a_name_far_from_all_others_is_the_hubs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(module, "get_hf_file_metadata", lambda url: None)
    assert module.find("gpt2") == "gpt2"
    assert module.find("my/model") == "my/model"
    with pytest.raises(CheckpointError, match=r"no model at 'my model'\. Did you mean my-model\?"):
        module.find("my model")


def test_a_model_in_the_cache_is_no_slip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(folder, "models--my-modle")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder.parent / "cache"))
    monkeypatch.setattr(module, "get_hf_file_metadata", never)
    monkeypatch.chdir(folder.parent)
    assert load_checkpoint("my-modle").settings.length == 32


def test_a_tokenizer_needs_no_model_beside_it(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    assert len(load_tokenizer(str(tmp_path))) == len(TOKENIZER)


def test_an_encoder_without_a_head_gets_one_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(TOKENIZER), **SHAPE)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    lm = td.load(str(tmp_path), device="cpu")
    assert "has no weights for cls.predictions" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()
    assert capfd.readouterr().err.count("\n") <= 1
    assert lm.model.get_output_embeddings().weight is lm.model.get_input_embeddings().weight
    filled = lm.fill("the [MASK] sat", steps=1)
    assert filled.text.startswith("the")
    assert filled.text.endswith(" sat")


# -- writing ------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_else_lies_in_the_folder_stays_and_old_weights_go(folder: Path) -> None:
    (folder / "checkpoints/checkpoint-3").mkdir(parents=True)
    (folder / "checkpoints/checkpoint-3/model.safetensors").write_bytes(b"mine")
    (folder / "notes.txt").write_text("mine too")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of an older, larger model")
    loaded = load_checkpoint(str(folder))
    save_checkpoint(folder, Checkpoint(loaded.model, loaded.tokenizer, ModelSettings(length=16)))
    found = contents(folder)
    assert found["checkpoints/checkpoint-3/model.safetensors"] == b"mine"
    assert found["notes.txt"] == b"mine too"
    assert "model-00001-of-00002.safetensors" not in found
    assert load_checkpoint(str(folder)).settings.length == 16
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("after", range(6))
def test_a_failure_at_any_move_leaves_the_old_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = contents(folder)
    replace, moves = os.replace, list[str]()

    def failing(source: Path, target: Path) -> None:
        moves.append(str(target))
        if len(moves) == after + 1:
            raise OSError(28, "No space left on device")
        replace(source, target)

    loaded = load_checkpoint(str(folder))
    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(
        CheckpointError, match=r"No space left on device; what stood there before is unchanged\.$"
    ):
        save_checkpoint(folder, Checkpoint(loaded.model, loaded.tokenizer, ModelSettings(length=8)))
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_settings_come_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, moved = os.replace, list[str]()

    def watched(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    loaded = load_checkpoint(str(folder))
    save_checkpoint(folder, loaded)
    assert moved[-1] == "diffusion.json"


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(fresh: Path) -> None:
        (fresh / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left"):
        write_atomically(tmp_path / "new", fail)
    assert list(tmp_path.iterdir()) == []
    write_atomically(tmp_path / "deep" / "new", lambda fresh: (fresh / "x").mkdir())
    assert (tmp_path / "deep/new/x").is_dir()
    shutil.rmtree(tmp_path / "deep")


def test_shards_are_written_read_and_replaced(folder: Path) -> None:
    loaded = load_checkpoint(str(folder))
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    counts = []
    for size in ("5KB", "10KB", "5GB"):
        save_checkpoint(folder, loaded, shard_size=size)
        names = {path.name for path in folder.glob("*.safetensors")}
        index = folder / "model.safetensors.index.json"
        if index.exists():
            assert names == set(json.loads(index.read_text())["weight_map"].values())
        counts.append(len(names))
        again = dict(load_checkpoint(str(folder)).model.named_parameters())
        assert before.keys() == again.keys()
        assert all(torch.equal(p, again[name]) for name, p in before.items())
    assert counts[0] > counts[1] > counts[2] == 1
    assert not index.exists()
