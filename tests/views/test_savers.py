"""A file's ending chooses what is written."""

from pathlib import Path

import pytest

from textdiffusion.errors import DataError, SettingsError
from textdiffusion.views import SAVERS, Drawing, Trace, saver_for

STARTS = {".json": b"{", ".gif": b"GIF89a", ".html": b"<!doctype html>", ".png": b"\x89PNG"}


def test_every_saver_is_tested() -> None:
    assert set(SAVERS) == set(STARTS)


@pytest.mark.parametrize("ending", [*STARTS, ".GIF"])
def test_ending_chooses_the_format(trace: Trace, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"fox{ending}"
    saver_for(path)(trace, path, Drawing())
    assert path.read_bytes().startswith(STARTS[ending.lower()])
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["fox.mp4", "fox", ".json"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"\.json, \.gif, \.html, \.png"):
        saver_for(tmp_path / name)


def test_missing_folder_is_refused_before_the_text_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        saver_for(tmp_path / "none" / "fox.gif")
