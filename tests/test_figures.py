"""The figures of the guide: their script draws, and what is kept is light."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from textdiffusion.checkpoint import STARTER

DOCS = Path(__file__).resolve().parents[1] / "docs"
MOST_BYTES = 150_000
SPEC = importlib.util.spec_from_file_location("figure", DOCS / "figures" / "training_and_sampling.py")
assert SPEC is not None and SPEC.loader is not None
figure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figure)


@pytest.mark.skipif(
    not (STARTER / "config.json").is_file(), reason="the bundled model is not in this checkout"
)
def test_training_and_sampling_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        figure, "picture", lambda left, right: drawn.extend([left, right]) or Image.new("RGB", (9, 9))
    )
    figure.main(tmp_path / "figure.png")
    training, sampling = drawn
    assert len(training) == len(sampling) == len(figure.RATIOS)
    masks = [[cell.kind for cell in panel.cells].count("mask") for panel in training]
    assert masks[0] == 0 and masks == sorted(masks)
    for panel in (*training, *sampling):
        assert "".join(cell.text for cell in panel.cells if cell.kind == "prompt") == figure.PROMPT
    assert (
        {cell.kind for cell in training[-1].cells}
        == {cell.kind for cell in sampling[0].cells}
        == {"prompt", "mask"}
    )
    assert "mask" not in {cell.kind for cell in sampling[-1].cells}


def test_what_is_kept_is_light() -> None:
    kept = [path for path in (DOCS / "assets").iterdir() if path.suffix in {".png", ".svg"}]
    assert kept
    assert not [path.name for path in kept if path.stat().st_size > MOST_BYTES]
