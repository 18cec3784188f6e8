"""`evaluate calibration` and `explore layers` on small networks, and what they refuse."""

import json
from pathlib import Path

import pytest

from .conftest import SENTENCES, Run

WORDS = ["evaluate", "calibration", "--ratios", "0.3", "0.8"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return path


def test_rows_and_a_picture(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "reliability.png"
    shown = run(*WORDS, "--model", model, "--data", data, "--save", picture, "--json")
    assert shown.code == 0 and picture.read_bytes().startswith(b"\x89PNG")
    whole, *rows = shown.objects
    assert whole["by"] == "all" and 0.0 <= whole["calibration_error"] <= 1.0
    assert [row["at"] for row in rows if row["by"] == "mask_ratio"] == [0.3, 0.8]
    assert [row["at"] for row in rows if row["by"] == "quarter"] == [1, 2, 3, 4]
    for by in ("mask_ratio", "quarter", "confidence"):
        assert sum(row["tokens"] for row in rows if row["by"] == by) == whole["tokens"]
    assert "not compared with any training text" in shown.err
    again = run(*WORDS, "--model", model, "--data", data, "--batch-tokens", "40", "--json")
    assert again.objects[0]["accuracy"] == pytest.approx(whole["accuracy"], abs=1e-6)


def test_for_people(run: Run, model: str, data: Path) -> None:
    shown = run(*WORDS, "--model", model, "--data", data)
    for said in ("30% masked", "quarter 4", "sure 0.00 on", "too sure by", "(95 %)"):
        assert said in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ratios", "0"], "mask ratio 0.0"),
        (["--ratios"], "no mask ratio"),
        (["--bins", "0"], "bins is 0"),
        (["--save", "x.gif"], "must end in .png"),
    ],
)
def test_bad_use_is_one_line(run: Run, model: str, data: Path, words: list[str], said: str) -> None:
    words = ["evaluate", "calibration", "--model", model, "--data", str(data), *words]
    assert said in run(*words).error


def test_layers(run: Run, model: str) -> None:
    shown = run("explore", "layers", "The [MASK] read [MASK:2].", "--model", model, "--top", "2", "--json")
    assert [(row["layer"], row["hole"]) for row in shown.objects] == [
        (n, k) for n in (0, 1) for k in (0, 1, 2)
    ]
    assert all(len(row["tokens"]) == len(row["probabilities"]) == 2 for row in shown.objects)
    table = run("explore", "layers", "The [MASK] read [MASK:2].", "--model", model)
    for said in ("embeddings", "1, the answer", "hole 3", "(0.00)"):
        assert said in table.out
    assert "no hole" in run("explore", "layers", "The fox.", "--model", model).error
