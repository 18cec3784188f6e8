"""`generate --length auto`, `length fit` and `evaluate length`, on a small network."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lengths.known import LENGTH, small_model, tokenizer

from textdiffusion.checkpoint import Checkpoint, save_checkpoint
from textdiffusion.length_head import HEAD_FILE

from .conftest import Run

STUDIES = ["end", "quarters", "bias", "rooms", "unmasked", "until-end", "saving"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts and answers by split."""
    folder = tmp_path_factory.mktemp("letters")
    for split, counts in (("train", range(1, 9)), ("test", (2, 3, 5))):
        lines = [{"text": f"{'a' * n}={'b' * n}", "prompt": f"{'a' * n}=", "answer": "b" * n} for n in counts]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def saved(folder: Path, **changes: Any) -> str:
    lm = small_model(**changes)
    save_checkpoint(folder, Checkpoint(lm.model, tokenizer(), lm.settings))
    return str(folder)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that says it has learnt what fills rows."""
    return saved(tmp_path_factory.mktemp("filled"))


def test_generate_reads_the_length(run: Run, filled: str) -> None:
    shown = run("generate", "aa=", "--model", filled, "--length", "auto", "--end-quantile", "0.2", "--json")
    (row,) = shown.objects
    assert shown.code == 0
    assert 1 <= row["predicted_length"] <= LENGTH - 4
    assert row["read_tokens"] >= LENGTH
    assert row["generated_tokens"] <= row["predicted_length"]
    plain = run("generate", "aa=", "--model", filled, "--length", "auto", "--end-quantile", "0.2")
    assert f"room read: {row['predicted_length']}" in plain.err
    (fixed,) = run("generate", "aa=", "--model", filled, "--length", "5", "--json").objects
    assert fixed["predicted_length"] is None
    assert fixed["read_tokens"] == fixed["nfe"] * 9


def test_generate_auto_watched_and_saved(run: Run, filled: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    words = ["generate", "aa=", "--model", filled, "--length", "auto", "--num-samples", "2"]
    assert run(*words, "--watch", "--save", str(file)).code == 0
    assert (tmp_path / "trace-1.json").is_file() and (tmp_path / "trace-2.json").is_file()


@pytest.mark.parametrize("words", [["--length", "long"], ["--length", "2.5"]])
def test_other_words_are_no_length(run: Run, filled: str, words: list[str]) -> None:
    shown = run("generate", "aa=", "--model", filled, *words)
    assert shown.code == 2
    assert "auto would do too" in shown.error


def test_generate_auto_is_refused_where_nothing_was_learnt(run: Run, model: str) -> None:
    shown = run("generate", "The fox", "--model", model, "--length", "auto")
    assert shown.code == 2
    assert "after_end" in shown.error and "length fit" in shown.error


@pytest.mark.parametrize("head", ["linear", "mlp", "pooled"])
def test_a_head_is_fitted_into_the_model(
    run: Run, filled: str, data: Path, tmp_path: Path, head: str
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(filled, folder)
    weights = (folder / "model.safetensors").read_bytes()
    words = ["length", "fit", "--data", str(data), "--head", head, "--steps", "3", "--held-back", "0.25"]
    shown = run(*words, "--model", str(folder))
    assert shown.code == 0
    assert f"{head} head in {folder}" in shown.out and "8 prompts; 0 texts do not fit" in shown.err
    assert (folder / HEAD_FILE).is_file()
    assert json.loads((folder / "diffusion.json").read_text())["length_head"] == head
    assert (folder / "model.safetensors").read_bytes() == weights, "the model stays as it is"
    assert run("generate", "aa=", "--model", str(folder), "--length", "auto").code == 0
    copied = tmp_path / "copy"
    assert run(*words, "--model", filled, "--output", str(copied)).code == 0
    assert (copied / HEAD_FILE).is_file() and not (Path(filled) / HEAD_FILE).exists()
    assert run("generate", "aa=", "--model", str(copied), "--length", "auto").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --model FOLDER and --data FILE"),
        (["--model", "starter", "--data", "x.txt"], "say where to save it with --output"),
        (["--model", ".", "--data", "x", "--head", "liner"], "Did you mean linear"),
        (["--model", ".", "--data", "x", "--given", "0"], "given is 0"),
    ],
)
def test_fits_that_cannot_work(run: Run, words: list[str], said: str) -> None:
    shown = run("length", "fit", *words)
    assert shown.code == 2
    assert said in shown.error


def test_evaluate_length(run: Run, filled: str, data: Path) -> None:
    words = ["evaluate", "length", "--model", filled, "--data", str(data), "--batch", "2", "--steps", "3"]
    shown = run(*words, "--json")
    assert shown.code == 0
    assert list(dict.fromkeys(row["study"] for row in shown.objects)) == STUDIES
    assert {row["texts"] for row in shown.objects} == {3}
    assert "3 texts of" in shown.err and "constants by 8 texts" in shown.err
    again = run(*words, "--json", "--studies", "rooms", "end")
    assert [row["study"] for row in again.objects][-1] == "end"
    first = [row for row in shown.objects if row["study"] == "end"]
    assert first == [row for row in again.objects if row["study"] == "end"], "the same seed, the same numbers"
    table = run(*words, "--studies", "rooms")
    assert "constant" in table.out and "±" in table.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --data FILE"),
        (["--data", "train.jsonl"], "give --train-data FILE"),
        (["--data", ".", "--split", "train"], "give --train-data FILE"),
        (["--data", ".", "--studies", "romos"], "Did you mean rooms"),
        (["--data", ".", "--limit", "0"], "limit is 0"),
        (["--data", ".", "--temperature", "-1"], "temperature -1.0"),
    ],
)
def test_studies_that_cannot_work(
    run: Run, filled: str, data: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    shown = run("evaluate", "length", "--model", filled, *words)
    assert shown.code == 2
    assert said in shown.error
