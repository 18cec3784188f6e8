"""Lines of a given width, for letters and for Chinese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from textdiffusion.views.cells import Cell, Kind, joined
from textdiffusion.views.layout import wrap


def lines(text: str, width: int) -> list[str]:
    return cells_to_lines([Cell(text, "settled")], width)


def cells_to_lines(cells: list[Cell], width: int) -> list[str]:
    return ["".join(span.text for span in line) for line in wrap(cells, width, cell_len)]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("one two\nthree\n", 20, ["one two", "three", ""]),
        ("a\n  b", 20, ["a", "  b"]),
        ("extraordinary", 5, ["extra", "ordin", "ary"]),
        ("an extraordinary", 5, ["an ex", "traor", "dinar", "y"]),
        ("床前明月光", 6, ["床前明", "月光"]),
        ("床前明月，光", 8, ["床前明", "月，光"]),
        ("床前（明月", 6, ["床前", "（明月"]),
        ("go 床前明", 6, ["go 床", "前明"]),
        ("", 5, [""]),
    ],
)
def test_breaks(text: str, width: int, expected: list[str]) -> None:
    assert lines(text, width) == expected


def test_word_of_several_cells_stays_together() -> None:
    cells = [Cell("now", "prompt"), Cell(" con", "settled"), Cell("densing", "new"), Cell(".", "mask")]
    assert cells_to_lines(cells, 12) == ["now", "condensing."]
    assert [span.kind for span in wrap(cells, 12, cell_len)[1]] == ["settled", "new", "mask"]


def test_masks_may_be_parted() -> None:
    assert cells_to_lines([Cell("__", "mask"), Cell(" __", "mask"), Cell(" __", "mask")], 5) == [
        "__ __",
        "__",
    ]


@given(
    st.lists(
        st.builds(
            Cell,
            st.text("ab 月，（\n_é", max_size=6),
            st.sampled_from(["prompt", "mask", "new", "settled"]).map(lambda kind: kind),
        ),
        max_size=12,
    ),
    st.integers(2, 12),
)
def test_nothing_is_lost_and_no_line_is_too_wide(cells: list[Cell], width: int) -> None:
    wrapped = cells_to_lines(cells, width)
    assert all(cell_len(line) <= width for line in wrapped)
    assert "".join("".join(wrapped).split()) == "".join(joined(cells).split())
    spans = [span for line in wrap(cells, width, cell_len) for span in line if not span.text.isspace()]
    for kind in ("prompt", "mask", "new", "settled"):
        assert "".join(s.text for s in spans if s.kind == kind) == letters(cells, kind)


def letters(cells: list[Cell], kind: Kind) -> str:
    return "".join("".join(cell.text for cell in cells if cell.kind == kind).split())


def test_controls_are_written_out() -> None:
    assert lines("a\x1b[2Jb\tc", 40) == ["a\\x1b[2Jb    c"]
