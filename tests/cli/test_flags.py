"""Flags come from dataclasses: what is read, what is refused, and that only what was given counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.cli.flags import IN_A_ROW, TEXT, Parser, build
from textdiffusion.errors import SettingsError
from textdiffusion.settings import field_docs


@dataclass(frozen=True)
class Settings:
    """Of every kind."""

    count: int = 3
    """How many; 50 % more
    on Sundays."""
    share: float | None = None
    """A part."""
    title: str = "fox"
    fast: bool = False
    """Hurry."""
    top_k: int | None = 4
    """Most probable."""
    sizes: tuple[float, ...] = ()
    """Several."""
    files: tuple[Path, ...] = ()
    """Files."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Shape."""


def read(*argv: str, **options: Any) -> dict[str, Any]:
    parser = Parser("td x", "About.", takes="WORD", **options)
    parser.add_fields(Settings)
    return parser.read(list(argv))


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        ([], {}),
        (["--count", "5"], {"count": 5}),
        (["--count=-5"], {"count": -5}),
        (["--count", "-5"], {"count": -5}),
        (["--count", "3K"], {"count": 3000}),
        (["--count", "1.5m"], {"count": 1_500_000}),
        (["--share", "1e-3"], {"share": 1e-3}),
        (["--share", "none"], {"share": None}),
        (["--title", "none"], {"title": "none"}),
        (["--fast"], {"fast": True}),
        (["--no-fast"], {"fast": False}),
        (["--top-k", "2"], {"top_k": 2}),
        (["--top_k=2"], {"top_k": 2}),
        (["--network", "{size_a: 1, b: [x]}"], {"network": {"size_a": 1, "b": ["x"]}}),
        (["--sizes", "1", "a_b", "--sizes", "2"], {"sizes": [1.0, 2.0], TEXT: "a_b"}),
        (["a b"], {TEXT: "a b"}),
        (["--count", "5", "a b"], {TEXT: "a b", "count": 5}),
        (["a b", "--count", "5"], {TEXT: "a b", "count": 5}),
        ([""], {TEXT: ""}),
        (["- a list"], {TEXT: "- a list"}),
        (["--fast", "--", "--count"], {TEXT: "--count", "fast": True}),
    ],
)
def test_only_what_was_given_is_read(argv: list[str], given: dict[str, Any]) -> None:
    assert read(*argv) == given


def test_values_in_a_row() -> None:
    given = read("--sizes", "1", "2", "--files", "~/a", "--fast", tuples=IN_A_ROW)
    built = build(Settings, given)
    assert built == Settings(sizes=(1.0, 2.0), files=(Path("~/a").expanduser(),), fast=True)
    assert build(Settings, read("--sizes", tuples=IN_A_ROW)) == Settings()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cuont", "5"], "unknown flag --cuont. Did you mean --count"),
        (["--count", "five"], "argument --count: expected a whole number, got 'five'"),
        (["--count", "1.5"], "expected a whole number, got '1.5'"),
        (["--count", "1.0005K"], "expected a whole number, got '1.0005K'"),
        (["--count", "K"], "expected a whole number, got 'K'"),
        (["--count", "infM"], "expected a whole number, got 'infM'"),
        (["--share", "half"], "argument --share: expected a number, got 'half'"),
        (["--network", "size"], "argument --network: expected keys and values"),
        (["--network", "{a: [}"], "argument --network: expected keys and values"),
        (["--count"], "argument --count: expected one argument"),
        (["--coun", "5"], "unknown flag --coun. Did you mean --count"),
        (["a", "b"], "'b' is one word too many"),
        (["-x"], "unknown flag -x"),
        (["--fast=yes"], "--fast"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(*argv)
    assert said in str(caught.value)
    assert str(caught.value).endswith("See `td x --help`.")


def test_command_without_text_takes_none() -> None:
    with pytest.raises(SettingsError, match="one word too many"):
        Parser("td x", "About.").read(["word"])


def test_help_is_made_of_docstrings() -> None:
    parser = Parser("td x", "About.", takes="WORD")
    parser.add_fields(Settings, title="all of them", skip={"files"})
    text = " ".join(parser.format_help().split())
    assert "usage: td x [WORD] [options]" in text and "all of them:" in text
    assert "--count N How many; 50 % more on Sundays (default: 3)." in text
    assert "--share X A part. " in text
    assert "--fast Hurry. " in text
    assert "--files" not in text


def test_docs_of_fields() -> None:
    assert field_docs(Settings)["share"] == "A part."
    assert "title" not in field_docs(Settings)
