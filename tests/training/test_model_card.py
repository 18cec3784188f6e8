"""What of a model goes to the Hub, and its card; nothing is ever uploaded."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hub import FakeHub

import textdiffusion as td
from textdiffusion.cli.main import main
from textdiffusion.data.publish import publish
from textdiffusion.errors import CheckpointError, SettingsError
from textdiffusion.training.history import read_history
from textdiffusion.training.model_card import AboutModel, plan_model

from .conftest import Recipe

ABOUT = AboutModel(license="apache-2.0", base_model="me/base", trained_on="sixty texts")


@pytest.fixture
def trained(recipe: Recipe, run: Callable[..., Any]) -> Path:
    """A model with checkpoints beside it, and files that concern nobody."""
    run(made := recipe(steps=4, eval_every=4, save_every=4))
    folder = Path(made.output)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / ".secret").write_text("token")
    return folder


def test_the_card_tells_what_the_files_say(trained: Path) -> None:
    card = plan_model(trained, "me/model", ABOUT).card
    match = re.match(r"---\n(.*?)---\n\n# model\n", card, re.DOTALL)
    assert match
    told = yaml.safe_load(match[1])
    assert (told["license"], told["base_model"], told["language"]) == ("apache-2.0", "me/base", ["en"])
    loaded = td.load(str(trained)).model
    count = sum(p.numel() for p in loaded.parameters())
    assert f"| parameters in the files | {count:,} |" in card
    best = read_history(trained).best
    assert best is not None and f"{best['loss']:.3f}" in card and f"at step {best['step']} |" in card
    assert "| text | sixty texts |" in card and 'td.load("me/model")' in card
    assert str(trained.parent) not in card, "paths of this machine are nobody's business"


def test_only_what_loads_safely_goes_and_the_copy_loads(trained: Path, tmp_path: Path) -> None:
    hub, plan = FakeHub(), plan_model(trained, "me/model", ABOUT)
    publish(plan, hub=hub)
    (_, made), (_, uploaded) = hub.calls
    assert made["repo_type"] == uploaded["repo_type"] == "model"
    names = [file.name for file in plan.files]
    assert names[0] == "README.md" and "model.safetensors" in names
    assert not [name for name in names if "checkpoint" in name or name.endswith(".bin") or name[0] == "."]
    (tmp_path / "copy").mkdir()
    for name in names:
        (tmp_path / "copy" / name).write_bytes((trained / name).read_bytes())
    text = td.load(str(tmp_path / "copy")).generate("the", length=3, seed=1).text
    assert text == td.load(str(trained)).generate("the", length=3, seed=1).text


def test_a_card_that_is_there_is_kept(trained: Path) -> None:
    (trained / "README.md").write_text("mine", "utf-8")
    assert plan_model(trained, "me/model", AboutModel()).card == "mine"


def test_refusals(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--license"):
        plan_model(trained, "me/model", AboutModel())
    with pytest.raises(SettingsError, match="--repo USER/model"):
        plan_model(trained, "model", ABOUT)
    with pytest.raises(CheckpointError, match="no whole model"):
        plan_model(tmp_path, "me/model", ABOUT)
    (trained / "model.safetensors").write_bytes(b"\x00" * 9)
    with pytest.raises(CheckpointError, match="damaged"):
        plan_model(trained, "me/model", ABOUT)


def test_the_command_plans_without_a_word_to_the_network(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket", None)
    words = ["publish", str(trained), "--repo", "me/model", "--license", "mit", "--dry-run"]
    assert main(words) == 0
    assert "Nothing was uploaded" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"] is None and told["kind"] == "model" and told["repo"] == "me/model"
    assert not (trained / "README.md").exists()
    assert main(["publish", "--repo", "me/model"]) == 2
