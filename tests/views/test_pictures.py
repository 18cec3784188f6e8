"""GIF, contact sheet and the fonts that they are drawn with."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from textdiffusion.errors import DataError, SettingsError
from textdiffusion.views import fonts
from textdiffusion.views.fonts import FontChain, choose_files, draws
from textdiffusion.views.gif import panels_of, pictures, save_gif
from textdiffusion.views.layout import wrap
from textdiffusion.views.painting import (
    HIGHLIGHT,
    INK,
    MARGIN,
    PAPER,
    SMALLEST_FONT,
    Drawing,
    Panel,
    chain_for,
    fitting,
)
from textdiffusion.views.png import MOST_PANELS, evenly, save_png, sheet
from textdiffusion.views.trace import Trace

MakeTrace = Callable[..., Trace]


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any font but Pillow's own."""
    monkeypatch.setattr(fonts, "COMMON_FONTS", ())


@pytest.fixture
def chinese_font() -> Path:
    try:
        (file,) = choose_files("床前明月光", "")
    except DataError:
        pytest.skip("no Chinese font on this machine")
    return file


def colours(image: Image.Image, box: tuple[int, int, int, int]) -> set[str]:
    found = image.convert("RGB").crop(box).getcolors(1 << 20)
    assert found is not None
    return {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in found if isinstance(colour, tuple)}


def test_gif_has_the_published_form(trace: Trace, tmp_path: Path) -> None:
    save_gif(trace, tmp_path / "x.gif", Drawing())
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.size == (1000, 600)
        assert gif.n_frames == trace.steps + 1
        assert gif.info["loop"] == 0
        for index in range(gif.n_frames):
            gif.seek(index)
            assert gif.info["duration"] == 500
    assert [path.name for path in tmp_path.iterdir()] == ["x.gif"]


def test_gif_titles_count_from_step_zero(trace: Trace) -> None:
    panels = panels_of(trace)
    assert [panel.title for panel in panels] == [f"Step {i} / 5" for i in range(6)]
    assert (panels[0].done, panels[-1].done) == (0.0, 1.0)


def test_gif_frames_show_their_kinds(trace: Trace) -> None:
    text = (MARGIN, 60, 960, 540)
    first, *_, before_last, last = (colours(image, text) for image in pictures(trace, Drawing()))
    assert INK["mask"] in first
    assert HIGHLIGHT["prompt"] in first
    assert HIGHLIGHT["new"] not in first
    assert {HIGHLIGHT["new"], INK["settled"]} <= before_last
    assert INK["settled"] in last
    assert not {HIGHLIGHT["new"], INK["new"]} & last


def test_text_begins_at_the_top_left(trace: Trace) -> None:
    last = pictures(trace, Drawing())[-1].convert("RGB")
    assert colours(last, (0, 0, MARGIN - 1, 600)) == {PAPER}
    assert colours(last, (MARGIN, 60, MARGIN + 100, 110)) != {PAPER}
    assert colours(last, (MARGIN, 200, 960, 540)) == {PAPER}


def test_equal_frames_are_not_merged(make_trace: MakeTrace, tmp_path: Path) -> None:
    trace = make_trace()
    still = replace(trace, snapshots=tuple(replace(trace.snapshots[0], step=i) for i in range(4)), steps=900)
    save_gif(still, tmp_path / "x.gif", Drawing())
    with Image.open(tmp_path / "x.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert durations == [500] * 4


def test_settings_of_the_drawing_are_used(trace: Trace, tmp_path: Path) -> None:
    save_gif(trace, tmp_path / "x.gif", Drawing(width=1200, height=800, milliseconds=800))
    with Image.open(tmp_path / "x.gif") as gif:
        assert (gif.size, gif.info["duration"]) == ((1200, 800), 800)


@pytest.mark.parametrize("setting", [{"font_size": 4}, {"width": 10}, {"height": 9000}, {"milliseconds": 0}])
def test_settings_out_of_range_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=r"must be"):
        Drawing(**setting)  # type: ignore[arg-type]


def test_font_shrinks_until_the_text_fits(make_trace: MakeTrace) -> None:
    def size_for(words: int) -> int:
        panels = panels_of(make_trace(["word", *[" word"] * words], 1, words))
        chain = fitting(panels, chain_for(panels, None), largest=20, width=920, height=480)
        if chain.size > SMALLEST_FONT:
            room = 480 // chain.line_height
            assert max(len(wrap(panel.cells, 920, chain.measure)) for panel in panels) <= room
        return chain.size

    sizes = [size_for(words) for words in (20, 500, 4000)]
    assert sizes[0] == 20
    assert 20 > sizes[1] > SMALLEST_FONT
    assert sizes[2] == SMALLEST_FONT


def test_text_that_never_fits_stays_inside(make_trace: MakeTrace) -> None:
    words = ["word", *[" word"] * 4000]
    last = pictures(make_trace(words, 1, 4000), Drawing())[-1]
    assert colours(last, (961, 0, 1000, 600)) == {PAPER}
    assert INK["mask"] in colours(last, (MARGIN, 500, 960, 560))  # the ellipsis


@pytest.mark.usefixtures("no_fonts")
def test_latin_text_needs_no_font_of_the_machine(trace: Trace) -> None:
    assert len(pictures(trace, Drawing())) == 6


@pytest.mark.usefixtures("no_fonts")
def test_missing_font_is_one_clear_line(make_trace: MakeTrace, chinese: list[str], tmp_path: Path) -> None:
    trace = make_trace(chinese)
    for save, name in ((save_gif, "x.gif"), (save_png, "x.png")):
        with pytest.raises(
            DataError, match=r"No font found for '.' \(U\+[0-9A-F]{4}\).*--font-path"
        ) as caught:
            save(trace, tmp_path / name, Drawing())
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_fonts")
def test_noise_without_a_font_becomes_a_box(trace: Trace) -> None:
    noise = trace.snapshots[0]
    strange = replace(noise, tokens=(*noise.tokens[:-1], 0), pieces=(*noise.pieces[:-1], "月"))
    assert len(pictures(replace(trace, snapshots=(strange, *trace.snapshots[1:])), Drawing())) == 6


def test_chinese_is_drawn(
    make_trace: MakeTrace, chinese: list[str], chinese_font: Path, tmp_path: Path
) -> None:
    trace = make_trace(chinese, 6, 4)
    save_gif(trace, tmp_path / "x.gif", Drawing())
    panels = panels_of(trace)
    chain = FontChain(chain_for(panels, None), 20)
    assert chain.files[0] == chinese_font
    assert chain.measure("月") > chain.measure("i")
    assert len(wrap(panels[-1].cells, 100, chain.measure)) >= 6


def test_mixed_scripts_are_drawn_font_by_font(chinese_font: Path) -> None:
    chain = FontChain(choose_files("a", "月", None), 20)
    assert [text for _, text in chain.runs("ab月c")] == ["ab", "月", "c"]


def test_given_font_comes_first(chinese_font: Path, trace: Trace) -> None:
    assert choose_files("abc", "", chinese_font)[0] == chinese_font
    assert len(pictures(trace, Drawing(font_path=chinese_font))) == 6


def test_file_that_is_no_font_is_refused(tmp_path: Path, trace: Trace) -> None:
    (tmp_path / "x.ttf").write_text("no font")
    for path in (tmp_path / "x.ttf", tmp_path / "missing.ttf"):
        with pytest.raises(DataError, match="not a font"):
            pictures(trace, Drawing(font_path=path))


def test_coverage_is_seen_by_the_picture() -> None:
    (own,) = choose_files("a", "")
    assert draws(own, "z")
    assert not draws(own, "月")


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (3, [0, 1, 2]), (12, list(range(12)))])
def test_few_frames_are_all_chosen(count: int, expected: list[int]) -> None:
    assert evenly(count, 12) == expected


def test_many_frames_are_chosen_evenly() -> None:
    chosen = evenly(257, 12)
    assert len(chosen) == 12
    assert (chosen[0], chosen[-1]) == (0, 256)
    gaps = {b - a for a, b in pairwise(chosen)}
    assert max(gaps) - min(gaps) <= 1


def test_contact_sheet_shows_noise_first_and_text_last(make_trace: MakeTrace, tmp_path: Path) -> None:
    trace = make_trace(prompt=1, per_step=1)
    assert len(trace.snapshots) > MOST_PANELS
    image = sheet(trace, Drawing())
    assert image.width == 1000
    assert HIGHLIGHT["new"] not in colours(image, (0, 0, 340, 120))
    assert HIGHLIGHT["new"] in colours(image, (340, 0, 1000, 200))
    save_png(trace, tmp_path / "x.png", Drawing())
    with Image.open(tmp_path / "x.png") as written:
        assert written.size == image.size


@pytest.mark.parametrize("kind", list(INK))
def test_ink_can_be_read_on_its_ground(kind: str) -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    inks: dict[str, str] = {str(name): value for name, value in INK.items()}
    grounds: dict[str, str] = {str(name): value for name, value in HIGHLIGHT.items()}
    contrast = (luminance(grounds.get(kind, PAPER)) + 0.05) / (luminance(inks[kind]) + 0.05)
    assert contrast >= 4.5


def test_panel_of_an_early_end_keeps_the_planned_steps(trace: Trace) -> None:
    early = replace(trace, steps=50)
    last: Panel = panels_of(early)[-1]
    assert (last.title, last.done) == ("Step 5 / 50", 0.1)
