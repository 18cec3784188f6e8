"""The clip of block diffusion that chooses itself."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.errors import SettingsError
from textdiffusion.objectives import BlockNelbo, ClippedBlockNelbo, Scores

from .test_objectives import MASK, canvas, draws, even, table

SIZE = 20
clips = st.tuples(st.integers(0, 10), st.integers(10, 20)).filter(lambda edges: edges[1] - edges[0] >= 10)


def quiet_inside(low: int, high: int, rows: int = 40) -> tuple[Scores, Canvas]:
    """Two blocks of twenty tokens a row, each number of masks alike; losses vary outside of the clip only."""
    texts = even(rows, 2 * SIZE)
    count = torch.arange(2 * rows).view(rows, 2) % SIZE + 1
    sign = (-1.0) ** (torch.arange(2 * rows).view(rows, 2) // SIZE)
    loss = 3.0 + 0.5 * sign * ((count <= low) | (count > high))
    nats = loss.repeat_interleave(SIZE, 1)
    rate = (count / SIZE).repeat_interleave(SIZE, 1)
    asked = torch.ones_like(nats, dtype=torch.bool)
    return Scores(nats, nats, asked, asked, rate), texts


@given(clips)
def test_the_widest_clip_with_the_least_variance_is_chosen(edges: tuple[int, int]) -> None:
    rule = ClippedBlockNelbo(SIZE)
    scores, texts = quiet_inside(*edges)
    choice = rule.choice(rule.moments(scores, texts).sum(0))
    assert choice == {"clip_low": edges[0] / 20, "clip_high": edges[1] / 20}
    chosen = rule.chosen(choice)
    assert (chosen.low, chosen.high, chosen.block_size) == (edges[0] / 20, edges[1] / 20, SIZE)
    at_once = chosen(table(), Absorbing(MASK), texts, draws(40))
    assert torch.equal(
        at_once.nats,
        BlockNelbo(SIZE, *[e / 20 for e in edges])(table(), Absorbing(MASK), texts, draws(40)).nats,
    )


@given(block=st.integers(1, 12), rows=st.integers(1, 6))
def test_each_block_with_something_to_learn_is_counted_once(block: int, rows: int) -> None:
    rule, texts = ClippedBlockNelbo(block), canvas(rows)
    scores = BlockNelbo(block)(table(), Absorbing(MASK), texts, draws(rows))
    number, loss, square = rule.moments(scores, texts).double().sum(0).view(3, 20)
    parts = [slice(first, first + block) for first in range(0, 10, block)]
    losses = [
        float(scores.nats[row, part].detach().sum() / texts.editable[row, part].sum())
        for row in range(rows)
        for part in parts
        if texts.editable[row, part].any()
    ]
    assert int(number.sum()) == len(losses)
    assert float(loss.sum()) == pytest.approx(sum(losses), rel=1e-5)
    assert float(square.sum()) == pytest.approx(sum(x * x for x in losses), rel=1e-5)


def test_blocks_of_one_token_and_no_text_leave_nothing_to_choose() -> None:
    rule, texts = ClippedBlockNelbo(1, low=0.25), canvas()
    scores = rule(table(), Absorbing(MASK), texts, draws(6))
    assert rule.choice(rule.moments(scores, texts).sum(0)) == {"clip_low": 0.0, "clip_high": 1.0}
    nothing = replace(texts, editable=torch.zeros_like(texts.editable))
    scores = rule(table(), Absorbing(MASK), nothing, draws(6))
    assert rule.choice(rule.moments(scores, nothing).sum(0)) == {"clip_low": 0.25, "clip_high": 1.0}
    assert rule.chosen({}) == rule


def test_it_is_measured_and_refused_as_any_blocks_are() -> None:
    assert ClippedBlockNelbo(8, 0.3, 0.8).bound(Absorbing(MASK)) == BlockNelbo(8)
    with pytest.raises(SettingsError, match="mask rates above"):
        ClippedBlockNelbo(8, 0.5, 0.5)
