"""samplers, schedules and explore masking."""

from pathlib import Path

import pytest
import torch

from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import SCHEDULES, STEP_GRIDS
from textdiffusion.views import plotting

from .conftest import Run


def test_samplers_as_json(run: Run) -> None:
    rows = run("samplers", "--json").objects
    assert [row["name"] for row in rows] == list(SAMPLERS)
    for row in rows:
        assert set(row) == {"name", "summary", "source", "exact", "settings", "defaults"}
        assert all(row[name] for name in ("summary", "source", "exact"))
    by_name = {row["name"]: row for row in rows}
    assert by_name["threshold"]["settings"] == {"threshold": 0.9}
    assert by_name["guide"]["defaults"]["top_k"] == 50


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_samplers_for_people(run: Run, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = run("samplers")
    words = shown.out.split()
    assert shown.code == 0 and shown.err == ""
    assert all(name in words for name in SAMPLERS) and "--threshold" in words
    for recipe in SAMPLERS.values():
        assert set(recipe.source.split()) <= set(words)


def test_schedules_as_json(run: Run) -> None:
    rows = run("schedules", "--json").objects
    grids = {row["name"]: row for row in rows if row["kind"] == "step grid"}
    noises = {row["name"]: row for row in rows if row["kind"] == "noise schedule"}
    assert list(grids) == list(STEP_GRIDS) and list(noises) == list(SCHEDULES)
    assert grids["linear"]["levels"] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert grids["cosine"]["levels"] == [1.0, 0.99, 0.95, 0.88, 0.76, 0.59, 0.38, 0.19, 0.05, 0.01]
    assert grids["exponential"]["levels"] == [1.0, 0.74, 0.55, 0.41, 0.3, 0.22, 0.17, 0.12, 0.09, 0.07]
    assert all("alpha" in row["formula"] for row in noises.values())


def test_schedules_for_people(run: Run) -> None:
    shown = run("schedules").out
    assert "1.00 0.99 0.95 0.88 0.76 0.59 0.38 0.19 0.05 0.01" in shown
    assert all(name in shown for name in [*STEP_GRIDS, *SCHEDULES])


@pytest.mark.parametrize("name", ["samplers", "schedules"])
def test_lists_take_no_words(run: Run, name: str) -> None:
    assert run(name, "fox").code == 2


# -- explore masking -----------------------------------------------------------------------------------------

FOX = "The fox read all day long, and slept at night."


def test_masking_levels_and_prefixes(run: Run, model: str) -> None:
    rows = run("explore", "masking", FOX, "--model", model, "--json").objects
    maskings = [row for row in rows if row["kind"] == "masking"]
    levels = [(row["level"], row["prefix"]) for row in maskings]
    assert levels == [
        *((share, 0) for share in (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)),
        *((0.8, prefix) for prefix in (0, 3, 5, 10)),
    ]
    assert maskings[0]["masked"] == maskings[0]["tokens"]
    counts = [row["masked"] for row in maskings[:6]]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) > 3
    assert maskings[-1]["text"].startswith("The fox read")
    assert sum(row["kind"] == "step grid" for row in rows) == len(STEP_GRIDS)


def test_masking_prefix_and_seed(run: Run, model: str) -> None:
    words = ["explore", "masking", FOX, "--model", model, "--json", "--prefix-length", "4"]
    first, second = (run(*words, "--seed", str(seed)).objects for seed in (1, 2))
    assert [row["prefix"] for row in first[:6]] == [4] * 6
    assert first[0]["text"].startswith("The fox") and first[0]["masked"] == first[0]["tokens"] - 4
    assert first != second and first == run(*words, "--seed", "1").objects


def test_masking_for_people(run: Run, model: str) -> None:
    shown = run("explore", "masking", "--model", model)
    assert shown.code == 0
    assert "80 %, prefix 10" in shown.out and "exponential" in shown.out


def test_prefix_longer_than_the_text(run: Run, model: str) -> None:
    rows = run("explore", "masking", "A", "--model", model, "--json", "--prefix-length", "99").objects
    assert rows[0]["masked"] == 0 and rows[0]["text"] == "A"


def test_curves_are_drawn(run: Run, model: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "schedules.png"
    shown = run("explore", "masking", FOX, "--model", model, "--save", str(file), "--json")
    assert shown.code == 0 and f"saved {file}" in shown.err
    assert file.read_bytes().startswith(b"\x89PNG")


def test_missing_matplotlib_is_said_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotting.importlib.util, "find_spec", lambda name: None)
    shown = run("explore", "masking", FOX, "--model", "/none", "--save", "schedules.png")
    assert shown.code == 2 and "textdiffusion[plots]" in shown.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--save", "s.doc"], ".png"),
        (["--prefix-length", "-1"], "prefix_length is -1"),
        (["--model", "/none"], "no model at"),
    ],
)
def test_bad_experiments(run: Run, words: list[str], said: str) -> None:
    shown = run("explore", "masking", FOX, *words)
    assert shown.code in (1, 2) and said in shown.error


def test_empty_text_has_nothing_to_mask(run: Run, model: str) -> None:
    shown = run("explore", "masking", "", "--model", model)
    assert shown.code == 2 and "nothing to mask" in shown.error


def test_unknown_experiment(run: Run) -> None:
    shown = run("explore", "maskin")
    assert shown.code == 2 and "Did you mean masking?" in shown.error


def test_alpha_curves_fall() -> None:
    time = torch.linspace(0, 1, 5, dtype=torch.float64)
    for schedule in SCHEDULES.values():
        assert bool((schedule().alpha(time).diff() <= 0).all())
