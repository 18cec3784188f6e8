"""Tables of named parts, and errors that say what to do."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from textdiffusion import errors
from textdiffusion.corruptions import CORRUPTIONS
from textdiffusion.errors import SettingsError, TextDiffusionError, UnknownNameError
from textdiffusion.mask_rates import MASK_RATES
from textdiffusion.objectives import OBJECTIVES
from textdiffusion.registry import Registry, did_you_mean
from textdiffusion.samplers import SAMPLERS
from textdiffusion.schedules import SCHEDULES, STEP_GRIDS

TABLE = Registry("sampler", {"first-hitting": 1, "confidence": 2, "random": 3})


def test_hyphens_underscores_and_case_are_equal() -> None:
    assert TABLE["first-hitting"] == TABLE["first_hitting"] == TABLE["First-Hitting"] == 1
    assert "first_hitting" in TABLE
    assert "nothing" not in TABLE


def test_names_have_one_spelling() -> None:
    assert TABLE.canonical("First_Hitting") == "first-hitting"
    with pytest.raises(UnknownNameError, match="Did you mean random"):
        TABLE.canonical("randon")


def test_it_is_a_mapping_in_order() -> None:
    assert list(TABLE) == ["first-hitting", "confidence", "random"]
    assert len(TABLE) == 3
    assert dict(TABLE) == {"first-hitting": 1, "confidence": 2, "random": 3}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        TABLE["confidense"]
    said = str(caught.value)
    assert said.startswith("No sampler named 'confidense'. Did you mean confidence?")
    assert said.endswith("Known: first-hitting, confidence, random.")
    assert "\n" not in said
    assert isinstance(caught.value, KeyError)
    assert TABLE.get("confidense", 5) == 5


def test_nothing_near_offers_nothing() -> None:
    assert did_you_mean("zzz", TABLE) == ""
    assert did_you_mean("randon", TABLE) == " Did you mean random?"
    assert did_you_mean("aab", ["aaa", "aac"]) in {" Did you mean aaa or aac?", " Did you mean aac or aaa?"}


def test_rows_are_added_by_name_and_never_replaced() -> None:
    table = Registry("metric", {"one": 1})
    table.register("two_more", 2)
    assert table["two-more"] == 2 and list(table) == ["one", "two-more"]
    with pytest.raises(SettingsError, match="already"):
        table.register("One", 3)


def test_other_packages_add_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("golden", "math:tau", "textdiffusion.samplers")

    def entry_points(*, group: str, name: str) -> EntryPoints:
        return EntryPoints([point]).select(group=group, name=name)

    monkeypatch.setattr("textdiffusion.registry.entry_points", entry_points)
    assert TABLE["Golden"] == pytest.approx(6.283185)
    with pytest.raises(UnknownNameError):
        Registry("objective", {"nelbo": 1})["golden"]


@pytest.mark.parametrize(
    "table",
    [CORRUPTIONS, MASK_RATES, OBJECTIVES, SAMPLERS, SCHEDULES, STEP_GRIDS],
    ids=lambda table: table.kind,
)
def test_names_of_all_tables_are_plain(table: Registry[object]) -> None:
    for name in table:
        assert name == name.lower()
        assert "_" not in name
        assert table[name.replace("-", "_").upper()] is table[name]


def test_errors_are_ours_and_python_s() -> None:
    pairs = {
        errors.UnknownNameError: KeyError,
        errors.SettingsError: ValueError,
        errors.IncompatibleError: TypeError,
        errors.CheckpointError: OSError,
        errors.DataError: OSError,
        errors.TrainingError: RuntimeError,
    }
    for ours, python in pairs.items():
        assert issubclass(ours, TextDiffusionError)
        assert issubclass(ours, python)
        assert str(ours("what was 'given'")) == "what was 'given'"
    assert str(TextDiffusionError()) == ""
