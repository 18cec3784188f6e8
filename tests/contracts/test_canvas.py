"""The one type for prompts, templates and training batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.attention import block_causal, combine
from textdiffusion.canvas import Canvas
from textdiffusion.errors import SettingsError

texts = st.lists(st.lists(st.tuples(st.integers(1, 99), st.booleans()), max_size=7), min_size=1, max_size=4)


@given(texts)
def test_rows_are_kept_and_padded_on_the_right(rows: list[list[tuple[int, bool]]]) -> None:
    ids, holes = [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]
    canvas = Canvas.from_rows(ids, holes, pad_id=0)
    for number, (row, hole) in enumerate(zip(ids, holes, strict=True)):
        length = len(row)
        assert canvas.tokens[number, :length].tolist() == row
        assert canvas.editable[number, :length].tolist() == hole
        assert canvas.positions[number, :length].tolist() == list(range(length))
        assert canvas.valid[number].tolist() == [True] * length + [False] * (canvas.tokens.shape[1] - length)
    assert not bool((canvas.editable & ~canvas.valid).any())
    assert bool((canvas.tokens[~canvas.valid] == 0).all())
    assert int(canvas.positions.min()) >= 0 if canvas.positions.numel() else True


def test_prompts_are_followed_by_holes() -> None:
    canvas = Canvas.from_prompts([[5, 6], [], [7]], [2, 3, 1], pad_id=0)
    assert canvas.tokens.tolist() == [[5, 6, 0, 0], [0, 0, 0, 0], [7, 0, 0, 0]]
    assert canvas.editable.tolist() == [
        [False, False, True, True],
        [True, True, True, False],
        [False, True, False, False],
    ]
    assert canvas.valid.sum(1).tolist() == [4, 3, 2]


def test_attention_is_masked_only_where_there_is_padding() -> None:
    assert Canvas.from_prompts([[1], [2]], [3, 3], pad_id=0).attend is None
    padded = Canvas.from_prompts([[1], [2]], [3, 1], pad_id=0)
    assert padded.attend is padded.valid


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(SettingsError, match="no prompt"):
        Canvas.from_prompts([], [], pad_id=0)
    with pytest.raises(SettingsError, match="length is 0"):
        Canvas.from_prompts([[1], [2]], [3, 0], pad_id=0)


def test_to_keeps_the_parts() -> None:
    canvas = Canvas.from_prompts([[1], [2]], [3, 1], pad_id=0)
    moved = canvas.to("cpu")
    assert torch.equal(moved.tokens, canvas.tokens)
    assert torch.equal(moved.editable, canvas.editable)
    assert torch.equal(moved.valid, canvas.valid)


# -- who may look at whom --------------------------------------------------------------------------------


@given(length=st.integers(1, 12), block=st.integers(1, 14))
def test_a_block_sees_itself_and_what_came_before(length: int, block: int) -> None:
    mask = block_causal(length, block)
    for query in range(length):
        for key in range(length):
            assert bool(mask[query, key]) == (key // block <= query // block)


def test_masks_are_combined_and_never_blind() -> None:
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert combine(None, None) is None
    both = combine(valid, block_causal(3, 1))
    assert both is not None
    assert both[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, False]]
    assert bool(both[1].all())
    alone, pattern = combine(valid, None), combine(None, block_causal(3, 1))
    assert alone is not None
    assert alone[0, 0].tolist() == [[True, True, False]]
    assert pattern is not None
    assert torch.equal(pattern[0, 0], block_causal(3, 1))
    by_query = combine(torch.eye(3, dtype=torch.bool)[None], None)
    assert by_query is not None
    assert torch.equal(by_query[0, 0], torch.eye(3, dtype=torch.bool))
