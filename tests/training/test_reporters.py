"""The names under which loggers get their reports."""

import os

import pytest

from textdiffusion.training.reporters import named_project
from textdiffusion.training.run import _arguments

from .conftest import Recipe


def test_run_and_project_go_to_the_loggers(recipe: Recipe) -> None:
    plain = _arguments(recipe("fox"))
    named = _arguments(recipe("fox", run_name="run", project_name="project"))
    assert (plain.run_name, named.run_name, named.project) == ("fox", "run", "project")
    assert plain.project != "project"


def test_the_environment_names_the_project_while_it_trains(
    recipe: Recipe, run, at_step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "before")
    monkeypatch.delenv("SWANLAB_PROJECT", raising=False)
    seen: list[tuple[str | None, str | None]] = []

    def look() -> None:
        seen.append((os.environ.get("WANDB_PROJECT"), os.environ.get("SWANLAB_PROJECT")))

    at_step(0, look)
    run(recipe(steps=1, project_name="poems"))
    look()
    with named_project(""):
        look()
    assert seen == [("poems", "poems"), ("before", None), ("before", None)]
