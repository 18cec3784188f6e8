"""The drawing policy that every view shares."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.views.cells import (
    Cell,
    Role,
    Snapshot,
    cells_of,
    joined,
    masked_cells,
    one_line,
    visible,
)
from textdiffusion.views.trace import Trace

ROLES: list[Role] = ["prompt", "editable", "editable", "editable"]


def snapshot(*pieces: str | None, step: int = 1, confidence: float | None = None) -> Snapshot:
    return Snapshot(
        step=step,
        tokens=tuple(0 if piece is None else sum(map(ord, piece)) for piece in pieces),
        pieces=pieces,
        settled=tuple(piece is not None for piece in pieces),
        confidence=tuple(None if piece is None else confidence for piece in pieces),
        nfe=step,
        seconds=0.0,
    )


NOISE = snapshot("The", None, None, None, step=0)
ONE = snapshot("The", None, " sat", None)
TWO = snapshot("The", " cat", " sat", None, step=2)
ALL = snapshot("The", " cat", " sat", ".", step=3)


def kinds(now: Snapshot, before: Snapshot | None, *, last: bool = False) -> list[str]:
    return [cell.kind for cell in cells_of(now, before, ROLES, last=last)]


def test_first_snapshot_is_prompt_and_masks() -> None:
    assert cells_of(NOISE, None, ROLES) == [
        Cell("The", "prompt"),
        Cell(" __", "mask"),
        Cell(" __", "mask"),
        Cell(" __", "mask"),
    ]


def test_written_now_is_new_and_next_time_settled() -> None:
    assert kinds(ONE, NOISE) == ["prompt", "mask", "new", "mask"]
    assert kinds(TWO, ONE) == ["prompt", "new", "settled", "mask"]


def test_last_snapshot_is_all_settled() -> None:
    assert kinds(ALL, TWO) == ["prompt", "settled", "settled", "new"]
    assert kinds(ALL, TWO, last=True) == ["prompt", "settled", "settled", "settled"]
    assert joined(cells_of(ALL, TWO, ROLES, last=True)) == "The cat sat."


def test_mask_left_in_the_last_snapshot_stays_a_mask() -> None:
    assert kinds(TWO, ONE, last=True) == ["prompt", "settled", "settled", "mask"]


def test_rewritten_token_is_new() -> None:
    assert kinds(snapshot("The", " dog", " sat", None), TWO) == ["prompt", "new", "settled", "mask"]


def test_reopened_token_is_a_mask_and_new_when_written_again() -> None:
    assert kinds(ONE, TWO) == ["prompt", "mask", "settled", "mask"]
    assert kinds(TWO, ONE)[1] == "new"


def test_space_that_comes_with_a_neighbour_is_no_change() -> None:
    before = replace(TWO, pieces=("The", " cat", "sat", None))
    assert kinds(TWO, before) == ["prompt", "settled", "settled", "mask"]


def test_character_completed_by_a_neighbour_is_new() -> None:
    before = replace(TWO, pieces=("The", " cat", "\ufffd", None))
    assert kinds(TWO, before)[2] == "new"


def test_text_given_from_the_start_is_settled_not_new() -> None:
    assert kinds(ALL, None) == ["prompt", "settled", "settled", "settled"]


def test_random_noise_shows_its_tokens_as_noise() -> None:
    noise = replace(ALL, settled=(True, False, False, False))
    cells = cells_of(noise, None, ROLES)
    assert [cell.kind for cell in cells] == ["prompt", "mask", "mask", "mask"]
    assert joined(cells) == "The cat sat."


def test_mask_in_a_prompt_belongs_to_the_prompt() -> None:
    given_mask = snapshot(None, " cat", " sat", ".")
    assert cells_of(given_mask, None, ROLES)[0] == Cell("__", "prompt")


def test_confidence_is_shown_of_written_tokens_only() -> None:
    sure = snapshot("The", " cat", None, ".", confidence=0.5)
    assert [cell.confidence for cell in cells_of(sure, NOISE, ROLES)] == [None, 0.5, None, 0.5]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((None, None, None), "__ __ __"),
        (("a ", None, "b"), "a __b"),
        (("a\n", None, " b"), "a\n__ b"),
        (("明", None, "月"), "明__月"),
        (("明", None, None), "明__ __"),
        (("a", "", None), "a __"),
    ],
)
def test_masks_stand_apart_from_words_and_each_other(pieces: tuple[str | None, ...], text: str) -> None:
    assert joined(cells_of(snapshot(*pieces), None, ["editable"] * 3)) == text


def test_mask_text_can_be_chosen() -> None:
    assert joined(cells_of(ONE, None, ROLES, mask="[MASK]")) == "The [MASK] sat [MASK]"


@given(st.lists(st.tuples(st.none() | st.text(max_size=3), st.booleans()), max_size=12), st.booleans())
def test_one_cell_per_position_and_every_mask_is_seen(
    places: list[tuple[str | None, bool]], last: bool
) -> None:
    roles: list[Role] = ["prompt" if is_given else "editable" for _, is_given in places]
    now = snapshot(*(piece for piece, _ in places))
    cells = cells_of(now, None, roles, last=last)
    for cell, (piece, is_given) in zip(cells, places, strict=True):
        assert cell.text.endswith("__") if piece is None else cell.text == piece
        assert (cell.kind == "prompt") is is_given
        assert is_given or (cell.kind == "mask") is (piece is None)


def test_all_frames_of_a_trace_follow_one_policy(trace: Trace) -> None:
    first, last = trace.cells(0), trace.cells(len(trace.snapshots) - 1)
    assert {cell.kind for cell in first} == {"prompt", "mask"}
    assert {cell.kind for cell in last} == {"prompt", "settled"}
    for index in range(1, len(trace.snapshots) - 1):
        assert sum(cell.kind == "new" for cell in trace.cells(index)) == 3
    assert (
        joined(last)
        == trace.text
        == "Once upon a time there lived a fox.\nIt read all day, condensing words."
    )


def test_masked_cells_show_prefix_and_masks() -> None:
    cells = masked_cells(["a", " b", " c"], [False, True, False], prefix=1)
    assert [(cell.text, cell.kind) for cell in cells] == [("a", "prompt"), (" __", "mask"), (" c", "settled")]


def test_visible_writes_controls_out() -> None:
    assert visible("a\x1b[31m\r\n\tb\u202ec") == "a\\x1b[31m\\r\n\tb\\u202ec"
    assert visible("月\u3000é") == "月\u3000é"


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line
    assert one_line("a\n\tb") == "a\\n\\tb"
