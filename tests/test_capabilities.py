"""docs/capabilities.md: every row is there, and what it names exists."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_docs import ROOT, commands, refusal

LETTERS = {"A": 18, "B": 8, "C": 14, "D": 15, "E": 13}
TEXT = (ROOT / "docs" / "capabilities.md").read_text("utf-8")


@dataclass(frozen=True)
class Row:
    """One capability."""

    id: str
    what: str
    how: str
    proof: str
    state: str


def rows() -> list[Row]:
    lines = [
        line.strip().strip("|").split("|") for line in TEXT.splitlines() if re.match(r"\| [A-E]\d+ \|", line)
    ]
    return [Row(*(cell.strip() for cell in line)) for line in lines]


def named_tests(text: str) -> Iterator[tuple[Path, str]]:
    """The files of tests in a text, each with the function named behind it, or nothing."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        yield ROOT / path, name


every_row = pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)


def test_every_capability_has_one_row() -> None:
    assert [row.id for row in rows()] == [
        f"{k}{n}" for k, last in LETTERS.items() for n in range(1, last + 1)
    ]


@every_row
def test_state_is_honest(row: Row) -> None:
    """What works has a way and a test; what works partly says what is missing."""
    assert re.fullmatch(r"works|planned|partly: .+", row.state)
    assert row.what
    assert bool(row.proof) is (row.state != "planned")
    assert row.how or row.state == "planned"


@every_row
def test_ways_exist(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    said = [refusal(words, capsys) for words in commands(row.how)]
    assert not [line for line in said if line]
    for name in re.findall(r"`td\.(\w+)", row.how):
        assert name in importlib.import_module("textdiffusion").__all__
    for path in re.findall(r"`((?:docs|recipes|benchmarks)/[\w/.-]+)`", row.how):
        assert (ROOT / path).is_file(), path


def test_named_tests_exist() -> None:
    named = list(named_tests(TEXT))
    assert len(named) > 50
    missing = [
        f"{path.relative_to(ROOT)}::{name}"
        for path, name in named
        if not path.is_file()
        or (name and not re.search(rf"^def {name}\(", path.read_text("utf-8"), re.MULTILINE))
    ]
    assert not sorted(set(missing))
