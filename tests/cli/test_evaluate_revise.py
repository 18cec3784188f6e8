"""`evaluate revise` on small networks: its rows, its table, and what it refuses."""

import json
from pathlib import Path

import pytest

from .conftest import SENTENCES, Run

WORDS = ["evaluate", "revise", "--looks", "2", "--length", "10"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return path


def test_rows(run: Run, model: str, data: Path) -> None:
    words = [*WORDS, "--damages", "typing-errors", "random_tokens", "--shares", "0", "0.5", "--json"]
    shown = run(*words, "--model", model, "--data", data)
    told = [(row["damage"], row["share"]) for row in shown.objects]
    assert told == [(d, s) for d in ("typing-errors", "random-tokens") for s in (0.0, 0.5)]
    for row in shown.objects:
        assert row["texts"] == 3 and row["tokens"] == 30
        assert (row["damaged"] > 0.0) is (row["share"] > 0.0)
        gained = row["damaged"] * (row["restored"] or 0.0) - (1.0 - row["damaged"]) * row["broken"]
        assert row["gained"] == pytest.approx(gained)
        assert row["calls"] >= 2
        assert row["gained_low"] <= row["gained"] <= row["gained_high"]
    assert "not compared with any training text" in shown.err
    assert run(*words, "--model", model, "--data", data).objects == shown.objects


def test_for_people_and_with_settings_of_a_sampler(run: Run, model: str, data: Path) -> None:
    words = ["--sampler", "threshold", "--threshold", "0.6", "--damages", "swapped-words", "--shares", "0.6"]
    shown = run(*WORDS, *words, "--model", model, "--data", data, "--noise-rate", "0.4")
    for said in ("swapped-words, 60%", "restored", "spoilt", "gained", "a noise rate of 0.4", "3 texts"):
        assert said in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--damages", "fire"], "No damage named 'fire'"),
        (["--damages"], "nothing is damaged"),
        (["--shares", "1.5"], "a share of 1.5"),
        (["--noise-rate", "0"], "noise_rate is 0"),
        (["--length", "0"], "length is 0"),
        (["--threshold", "0.5"], "It belongs to --sampler"),
    ],
)
def test_bad_use_is_one_line(run: Run, model: str, data: Path, words: list[str], said: str) -> None:
    shown = run("evaluate", "revise", "--model", model, "--data", data, *words)
    assert shown.code == 2
    assert said in shown.error
