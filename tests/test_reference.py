"""The reference pages: made from the tables, complete, and not older than these."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from textdiffusion.corruptions import CORRUPTIONS
from textdiffusion.generation import Decoding
from textdiffusion.objectives import OBJECTIVES
from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import SCHEDULES, STEP_GRIDS
from textdiffusion.training import TrainingRecipe

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
SPEC = importlib.util.spec_from_file_location("make_reference", FOLDER / "make.py")
assert SPEC is not None and SPEC.loader is not None
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)
PAGES = make.pages()


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_those_of_the_code(name: str) -> None:
    kept = FOLDER / name
    assert kept.is_file(), f"{name} is missing; run {make.COMMAND}"
    assert kept.read_text("utf-8") == PAGES[name], f"{name} is older than the code; run {make.COMMAND}"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("samplers.md", [*SAMPLERS]),
        ("schedules.md", [*SCHEDULES]),
        ("noises.md", [*CORRUPTIONS]),
        ("objectives.md", [*OBJECTIVES]),
    ],
)
def test_every_row_has_its_section(page: str, names: list[str]) -> None:
    heads = [line.removeprefix("## ") for line in PAGES[page].splitlines() if line.startswith("##")]
    assert not set(names) - {head.lstrip("# ") for head in heads}


@pytest.mark.parametrize(("page", "settings"), [("decoding.md", Decoding), ("training.md", TrainingRecipe)])
def test_every_setting_is_said(page: str, settings: type) -> None:
    rows = [line for line in PAGES[page].splitlines() if line.startswith("| `--")]
    flags = [f"| `--{entry.name.replace('_', '-')}` |" for entry in dataclasses.fields(settings)]
    assert not [flag for flag in flags if not any(row.startswith(flag) for row in rows)]
    assert all(row.rstrip(" |").count(" | ") >= 2 for row in rows), "a row without a description"


def test_grids_stand_with_their_levels() -> None:
    (row,) = [line for line in PAGES["schedules.md"].splitlines() if line.startswith("| `exponential`")]
    assert row.split(" | ")[3:6] == ["1.00", "0.74", "0.55"]
    assert all(f"| `{name}`" in PAGES["schedules.md"] for name in STEP_GRIDS)
