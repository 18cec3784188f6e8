"""A training on a prepared folder has the rows of a training on the text, and tokenises nothing."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from textdiffusion.checkpoint import load_tokenizer
from textdiffusion.cli.data.prepare import tokenising
from textdiffusion.data.packing import TokenRows
from textdiffusion.data.prepared import Plan, prepare
from textdiffusion.errors import DataError, IncompatibleError, SettingsError, TextDiffusionError
from textdiffusion.tokens import TextFormat
from textdiffusion.training import prepare as preparing
from textdiffusion.training.tokenizer import train_tokenizer

from .conftest import Recipe

Make = Callable[..., str]


@pytest.fixture
def stories(tmp_path: Path, texts: list[str]) -> Path:
    """The texts as two splits."""
    folder = tmp_path / "stories"
    folder.mkdir()
    for split, some in {"train": texts[:50], "validation": texts[50:]}.items():
        lines = [json.dumps({"text": text}) + "\n" for text in some]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def saved(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """The folder of the tokenizer."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


@pytest.fixture
def made(tmp_path: Path, stories: Path, saved: str) -> Make:
    """Prepares the two splits."""

    def make(name: str = "arrays", source: Path = stories, **options: Any) -> str:
        return str(prepare(Plan(source=str(source), **options), tmp_path / name, tokenising(saved)).path)

    return make


def rows(made: Any) -> list[list[int]]:
    return [made[i]["input_ids"] for i in range(len(made))]


def prepared(recipe: Any) -> preparing.Prepared:
    return preparing.prepare(recipe, None, Console(file=io.StringIO()))


@pytest.fixture
def without_tokenising(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, arranging text is an error."""

    def forbid() -> None:
        def build(*args: Any, **options: Any) -> None:
            raise AssertionError("text was tokenised")

        monkeypatch.setattr(TokenRows, "build", build)

    return forbid


def test_rows_are_those_of_the_text(
    recipe: Recipe, stories: Path, saved: str, made: Make, without_tokenising: Callable[[], None]
) -> None:
    text = prepared(recipe(data=str(stories), tokenizer=saved, arrange="blocks"))
    without_tokenising()
    disk = prepared(recipe(data=made()))
    assert rows(disk.rows) == rows(text.rows) and rows(disk.held_out) == rows(text.held_out)
    assert len(rows(disk.rows)) > 20


def test_documents_as_rows(
    recipe: Recipe, stories: Path, saved: str, made: Make, without_tokenising: Callable[[], None]
) -> None:
    text = prepared(recipe(data=str(stories), tokenizer=saved, arrange="windows", length=64))
    without_tokenising()
    folder = made(kind="rows", length=64)
    disk = prepared(recipe(data=folder, length=70))
    assert rows(disk.rows) == rows(text.rows) and rows(disk.held_out) == rows(text.held_out)
    assert prepared(recipe(data=folder, length=64, arrange="windows")).rows is not None
    with pytest.raises(SettingsError, match="prepared with 64 tokens; give --length 64"):
        prepared(recipe(data=folder, length=63))


def test_a_new_network_takes_the_tokenizer_of_the_folder(
    recipe: Recipe, made: Make, texts: list[str]
) -> None:
    found = prepared(recipe(data=made(), vocab_size=999)).checkpoint
    copy = TextFormat.of(load_tokenizer(str(Path(made("more")) / "tokenizer")))
    assert len(found.tokenizer) == len(copy.tokenizer)
    assert TextFormat.of(found.tokenizer).document(texts) == copy.document(texts)


def test_a_model_must_have_the_same_tokenizer(
    recipe: Recipe, made: Make, bert: Path, tmp_path: Path, texts: list[str]
) -> None:
    folder = made()
    assert prepared(recipe(data=folder, model=str(bert))).format.tokenizer.mask_token == "[MASK]"
    other = train_tokenizer([text.upper() for text in texts], 300, longest=16)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(IncompatibleError, match="prepare the text anew with --tokenizer") as caught:
        prepared(recipe(data=folder, tokenizer=str(tmp_path / "other")))
    assert "\n" not in str(caught.value)


def test_without_a_split_to_measure_on_rows_are_held_back(recipe: Recipe, stories: Path, made: Make) -> None:
    folder = made(source=stories / "train.jsonl", test_share=0.0)
    found = prepared(recipe(data=folder, validation_share=0.2))
    every = rows(found.rows) + rows(found.held_out)
    assert sorted(every) == sorted(rows(prepared(recipe(data=folder, validation_data=folder)).rows))
    assert len(found.held_out) == round(0.2 * len(every))  # type: ignore[arg-type]


def test_the_test_split_is_measured_on_where_there_is_no_other(
    recipe: Recipe, stories: Path, made: Make
) -> None:
    both, seen = made(source=stories / "train.jsonl", test_share=0.3), made("all", stories / "train.jsonl")
    held_out = rows(prepared(recipe(data=both)).held_out)
    assert held_out and held_out == rows(prepared(recipe(data=seen, validation_data=both)).held_out)


def test_text_and_arrays_side_by_side(recipe: Recipe, stories: Path, saved: str, made: Make) -> None:
    """Measured on the one, trained on the other."""
    text, folder = str(stories / "validation.jsonl"), made()
    plain = prepared(recipe(data=str(stories), tokenizer=saved))
    assert rows(prepared(recipe(data=folder, validation_data=text)).held_out) == rows(plain.held_out)
    one = recipe(data=str(stories), tokenizer=saved, validation_data=folder, streaming=True)
    assert rows(prepared(one).held_out) == rows(plain.held_out)


def test_a_whole_training(recipe: Recipe, run: Callable[..., str], made: Make, tmp_path: Path) -> None:
    folder = made()
    said = run(recipe(data=folder, steps=4, eval_every=4))
    assert "rows of up to 16 tokens" in said and "training a tokenizer" not in said
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clean": ("wikitext",)}, r"clean is \('wikitext',\), but .* with \['nfc'\]; leave it out"),
        ({"text_field": "story"}, "text_field is 'story'"),
        ({"streaming": True}, "streaming is for text"),
        ({"arrange": "windows"}, "arrange is windows, but .* is packed; give --arrange blocks"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    recipe: Recipe, made: Make, changes: dict[str, Any], said: str
) -> None:
    folder = made(clean=("nfc",))
    assert prepared(recipe(data=folder, clean=("nfc",))).rows is not None
    with pytest.raises(SettingsError, match=said) as caught:
        prepared(recipe(data=folder, **changes))
    assert "\n" not in str(caught.value)


def test_an_unfinished_or_broken_folder_is_refused(recipe: Recipe, made: Make, tmp_path: Path) -> None:
    folder = Path(made())
    (folder / "train.bin").write_bytes(b"")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "unfinished.json").write_text("{}")
    (tmp_path / "later.unfinished").mkdir()
    for place, said in (
        (folder, "has 0 bytes instead of"),
        (tmp_path / "begun", "is unfinished"),
        (tmp_path / "later", "is unfinished"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            prepared(recipe(data=str(place)))
        assert isinstance(caught.value, TextDiffusionError) and "\n" not in str(caught.value)


def test_rows_of_one_document_each_may_be_filled_up(
    recipe: Recipe, stories: Path, saved: str, made: Make
) -> None:
    """They come without their padding, whatever they are called; packed ones are refused."""
    folder = made(kind="rows", length=64)
    found = prepared(recipe(data=folder, length=64, after_end="pad"))
    assert found.format.filler_id == found.format.pad_id
    assert found.format.pad_id not in {token for row in rows(found.rows) for token in row}
    with pytest.raises(SettingsError, match="packed; prepare the text with --kind rows"):
        prepared(recipe(data=made("packed"), after_end="pad"))
    with pytest.raises(SettingsError, match="choose arrange truncated"):
        recipe(data=folder, validation_data=str(stories), length=64, after_end="pad")
