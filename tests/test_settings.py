"""Frozen dataclasses from mappings and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.model_settings import ModelSettings
from textdiffusion.schedules import SCHEDULES
from textdiffusion.settings import from_mapping, read_mapping, to_mapping
from textdiffusion.training.recipe import TrainingRecipe, read_recipe

names = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=8)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    count: int | None = None
    inner: Inner = field(default_factory=Inner)
    weights: Mapping[str, float] = field(default_factory=dict)
    anything: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


inners = st.builds(Inner, numbers, st.lists(st.integers(), max_size=3).map(tuple))
outers = st.builds(
    Outer,
    st.text(max_size=8),
    st.none() | st.integers(),
    inners,
    st.dictionaries(names, numbers, max_size=3),
    st.dictionaries(names, leaves | st.lists(leaves, max_size=3), max_size=3),
    st.none(),
)


@given(outers)
def test_settings_come_back_from_json_and_yaml(settings: Outer) -> None:
    plain = to_mapping(settings)
    assert from_mapping(Outer, plain) == settings
    assert from_mapping(Outer, json.loads(json.dumps(plain))) == settings
    assert from_mapping(Outer, yaml.safe_load(yaml.safe_dump(plain, allow_unicode=True))) == settings


@given(st.sampled_from(list(SCHEDULES)), st.integers(1, 4096), st.booleans(), st.dictionaries(names, numbers))
def test_model_settings_come_back(schedule: str, length: int, ends: bool, decoding: dict[str, float]) -> None:
    settings = ModelSettings(noise_schedule=schedule, length=length, learns_end=ends, decoding=decoding)
    assert from_mapping(ModelSettings, json.loads(json.dumps(to_mapping(settings)))) == settings


def test_a_recipe_comes_back() -> None:
    recipe = TrainingRecipe(data="x", repeats={"a": 0.5}, clean=("nfc",), betas=(0.9, 0.95), dropout=0.0)
    assert from_mapping(TrainingRecipe, to_mapping(recipe)) == recipe


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"nmae": "y"}, r"unknown key 'nmae'\. Did you mean name"),
        ({"inner": {"rates": 1}}, r"unknown key 'inner\.rates'\. Did you mean rate"),
        ({"count": "many"}, r"count: expected int, got 'many'"),
        ({"count": True}, r"count: expected int, got True"),
        ({"count": 1.5}, r"count: expected int"),
        ({"name": 3}, r"name: expected str, got 3"),
        ({"inner": 3}, r"inner: expected keys and values, got 3"),
        ({"weights": {"a": "heavy"}}, r"weights\.a: expected a number, got 'heavy'"),
        ({"inner": {"steps": [1, "two"]}}, r"inner\.steps: expected int, got 'two'"),
    ],
)
def test_what_does_not_fit_is_named(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        from_mapping(Outer, given_)


def test_hyphens_numbers_and_numbers_in_quotes_are_understood() -> None:
    assert from_mapping(TrainingRecipe, {"batch-size": 2}).batch_size == 2
    assert from_mapping(Inner, {"rate": "1e-3"}).rate == 1e-3
    assert math.isclose(from_mapping(Outer, {"weights": {"a": 2, "b": "1e-3"}}).weights["b"], 1e-3)


def test_files_that_are_no_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(SettingsError, match="no settings file"):
        read_mapping(path)
    for content, said in [("[1, 2", "no valid YAML"), ("- a\n- b", "must hold keys and values, not list")]:
        path.write_text(content)
        with pytest.raises(SettingsError, match=said) as caught:
            read_mapping(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError):
        read_mapping(path)
    path.write_text("steps: 3\n7: x")
    with pytest.raises(SettingsError, match="unknown key '7'"):
        read_recipe(path, {})
    path.write_text("steps: 3\nbatch-size: 2")
    assert read_recipe(path, {"steps": 5}) == TrainingRecipe(steps=5, batch_size=2)


@pytest.mark.parametrize(
    "bad",
    [
        {"length": 0},
        {"batch_size": 0},
        {"prefix_length": 256},
        {"eval_rows": -1},
        {"ema": 1.0},
        {"validation_share": -0.1},
        {"learning_rate": -1.0},
        {"learning_rate": math.nan},
        {"betas": (0.9,)},
        {"betas": (0.9, 1.0)},
        {"epochs": 0.0},
        {"streaming": True},
        {"report_to": "paper"},
        {"noise_schedule_settings": {"power": 2.0}},
        {"mask_rate_settings": {"hihg": 1.0}, "objective": "cross-entropy"},
        {"objective_settings": {"floor": 1.0}},
    ],
)
def test_recipes_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        TrainingRecipe(**bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["arrange", "noise", "noise_schedule", "objective", "mask_rates", "precision", "decay"]
)
def test_unknown_names_in_a_recipe_are_refused_before_any_data_are_read(key: str) -> None:
    with pytest.raises(UnknownNameError, match="Known: "):
        TrainingRecipe(**{"objective": "cross-entropy", key: "nonsense"})


def test_what_has_no_settings_says_so() -> None:
    @dataclass(frozen=True)
    class Bare:
        """Nothing to set."""

    with pytest.raises(SettingsError, match=r"^unknown key 'power'\. There is nothing to set here\.$"):
        from_mapping(Bare, {"power": 2})
