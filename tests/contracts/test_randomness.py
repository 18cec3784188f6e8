"""Draws are uniform, independent, keyed by row, and exact in the tails."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare, kstest
from torch import Tensor

from textdiffusion.randomness import RowGenerator, draw_categorical, random_subset

ROWS, COLUMNS = 500, 40


def rows(seeds: range = range(ROWS)) -> RowGenerator:
    return RowGenerator.for_rows(seeds)


def independent(a: Tensor, b: Tensor) -> bool:
    """Chi-square of the 10 x 10 table of two uniform samples."""
    cells = (a.flatten() * 10).long() * 10 + (b.flatten() * 10).long()
    return float(chisquare(cells.bincount(minlength=100)).pvalue) > 1e-3


# -- uniform ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "generator",
    [
        rows(),
        rows().fold(3),
        rows().fold(torch.arange(ROWS)),
        RowGenerator.for_batch(5, 7, first=0, rows=ROWS, total=ROWS),
        RowGenerator.from_generator(torch.Generator().manual_seed(0), ROWS, "cpu"),
    ],
    ids=["rows", "fold", "fold-by-row", "batch", "from-generator"],
)
@pytest.mark.parametrize("draw", [0, 1, 6])
def test_numbers_are_uniform(generator: RowGenerator, draw: int) -> None:
    u = generator.uniform(COLUMNS, draw)
    assert (u.shape, u.dtype) == ((ROWS, COLUMNS), torch.float64)
    assert 0.0 < u.min() < u.max() < 1.0
    assert kstest(u.flatten(), "uniform").pvalue > 1e-3
    low_bits = (u * 2**40 % 1.0).flatten()
    assert kstest(low_bits, "uniform").pvalue > 1e-3
    assert chisquare((u[:, 0] * 10).long().bincount(minlength=10)).pvalue > 1e-3


def test_draws_steps_rows_and_columns_are_independent() -> None:
    g = rows()
    u = g.uniform(COLUMNS)
    assert independent(u, g.uniform(COLUMNS, draw=1))
    assert independent(u, g.fold(0).uniform(COLUMNS))
    assert independent(g.fold(1).uniform(COLUMNS), g.fold(2).uniform(COLUMNS))
    assert independent(u[:-1], u[1:])
    assert independent(u[:, :-1], u[:, 1:])
    assert independent(u, rows(range(ROWS, 2 * ROWS)).uniform(COLUMNS))


def test_batches_of_other_steps_and_seeds_are_independent() -> None:
    def batch(seed: int, step: int) -> Tensor:
        return RowGenerator.for_batch(seed, step, first=0, rows=ROWS, total=ROWS).uniform(COLUMNS)

    assert independent(batch(0, 0), batch(0, 1))
    assert independent(batch(0, 0), batch(1, 0))
    assert independent(batch(0, 1)[1:], batch(0, 2)[:-1])


def test_a_draw_hangs_on_row_step_draw_and_column_alone() -> None:
    u = rows().fold(4).uniform(COLUMNS, draw=2)
    torch.testing.assert_close(
        rows(range(100, 101)).fold(4).uniform(7, draw=2)[0], u[100, :7], atol=0, rtol=0
    )
    mixed = rows(range(3)).fold(torch.tensor([9, 4, 0])).uniform(COLUMNS, draw=2)
    assert torch.equal(mixed[1], u[1])
    assert not torch.equal(mixed[0], u[0])


@given(st.lists(st.integers(-(2**64), 2**64), min_size=1, max_size=5, unique_by=lambda seed: seed % 2**64))
def test_any_seed_is_a_seed_and_different_ones_differ(seeds: list[int]) -> None:
    u = RowGenerator.for_rows(seeds).uniform(2)
    assert len({tuple(row) for row in u.tolist()}) == len(seeds)


# -- stratified ------------------------------------------------------------------------------------------


@given(
    total=st.integers(1, 300), seed=st.integers(0, 2**40), step=st.integers(0, 10**6), draw=st.integers(0, 3)
)
def test_each_stratum_holds_one_row(total: int, seed: int, step: int, draw: int) -> None:
    u = RowGenerator.for_batch(seed, step, first=0, rows=total, total=total).stratified(draw)
    assert 0.0 <= u.min() <= u.max() < 1.0
    # Between two offsets: all numbers are one offset plus a multiple of 1 / total.
    offset = u.min()
    assert offset < 1.0 / total + 1e-12
    steps = ((u - offset) * total).round().long()
    assert sorted(steps.tolist()) == list(range(total))
    torch.testing.assert_close(offset + steps.double() / total, u, atol=1e-12, rtol=0)


def test_one_row_of_a_stratified_batch_is_uniform() -> None:
    u = torch.stack(
        [RowGenerator.for_batch(0, step, first=0, rows=8, total=8).stratified()[3] for step in range(600)]
    )
    assert kstest(u, "uniform").pvalue > 1e-3


@given(total=st.integers(1, 40), parts=st.integers(1, 40), step=st.integers(0, 10**6))
def test_parts_are_spread_evenly_over_a_row_and_over_rows(total: int, parts: int, step: int) -> None:
    source = RowGenerator.for_batch(1, step, first=0, rows=total, total=total)
    u = source.stratified_parts(parts)
    assert 0.0 <= u.min() <= u.max() < 1.0
    assert torch.equal(source.stratified_parts(parts + 3)[:, :parts], u)
    for part in range(parts):
        own = u[:, part].sort().values
        assert bool(((own.diff() - 1.0 / total).abs() < 1e-9).all())
    row = u[0].sort().values
    gaps = torch.cat([row.diff(), row[:1] + 1.0 - row[-1:]])
    assert gaps.max() < 2.0 / parts + 1e-9, "no large part of [0, 1) is left out in a row"


def test_each_part_of_each_row_is_uniform() -> None:
    steps = [
        RowGenerator.for_batch(0, step, first=0, rows=4, total=4).stratified_parts(3) for step in range(600)
    ]
    for part in torch.stack(steps).flatten(1).T:
        assert kstest(part, "uniform").pvalue > 1e-3


def test_neighbours_lie_in_distant_strata() -> None:
    for total in (16, 64, 100, 255):
        u = RowGenerator.for_batch(0, 0, first=0, rows=total, total=total).stratified()
        for first in range(0, total - 8, 8):
            part = u[first : first + 8].sort().values
            assert part.diff().max() < 0.5, (total, first)


@given(total=st.integers(1, 40), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_ranks_and_micro_batches_share_out_the_same_draws(total: int, cuts: list[int]) -> None:
    edges = sorted({0, total, *(cut for cut in cuts if cut < total)})
    whole = RowGenerator.for_batch(3, 5, first=0, rows=total, total=total)
    parts = [
        RowGenerator.for_batch(3, 5, first=low, rows=high - low, total=total)
        for low, high in itertools.pairwise(edges)
    ]
    assert torch.equal(torch.cat([part.uniform(4, 1) for part in parts]), whole.uniform(4, 1))
    assert torch.equal(torch.cat([part.stratified() for part in parts]), whole.stratified())
    assert all(part.common() == whole.common() for part in parts)


def test_common_number_is_common_and_uniform() -> None:
    steps = [RowGenerator.for_batch(0, step, first=0, rows=2, total=2) for step in range(600)]
    assert kstest([float(step.common()) for step in steps], "uniform").pvalue > 1e-3
    assert independent(torch.stack([g.common() for g in steps]), torch.stack([g.common(1) for g in steps]))


def test_a_generator_moves_on() -> None:
    source = torch.Generator().manual_seed(0)
    one, two = (RowGenerator.from_generator(source, 3, "cpu").uniform(2) for _ in range(2))
    assert not torch.equal(one, two)
    assert torch.equal(
        one, RowGenerator.from_generator(torch.Generator().manual_seed(0), 3, "cpu").uniform(2)
    )


# -- categories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_categories_follow_the_softmax(dtype: torch.dtype) -> None:
    logits = torch.tensor([1.0, -torch.inf, 0.0, -3.0, 2.0, -torch.inf]).to(dtype)
    drawn = draw_categorical(logits.exp().expand(20_000, -1), rows(range(20_000)).uniform(1)[:, 0])
    counts, p = drawn.bincount(minlength=6), logits.double().softmax(-1)
    assert counts[1] == counts[5] == 0
    kept = [0, 2, 3, 4]
    assert chisquare(counts[kept], (p[kept] * 20_000).numpy()).pvalue > 1e-3


def test_the_tail_is_drawn_as_often_as_it_should_be() -> None:
    """Half of the mass on 49,990 tokens: what Gumbel noise with 24 random bits cannot do."""
    weights = torch.cat([torch.full((10,), 0.05), torch.full((49_990,), 0.5 / 49_990)])
    u = rows(range(4000)).uniform(1)[:, 0]
    drawn = torch.cat([draw_categorical(weights.expand(200, -1), part) for part in u.split(200)])
    tail = drawn >= 10
    assert binomtest(int(tail.sum()), 4000, 0.5).pvalue > 1e-3
    assert chisquare(((drawn[tail] - 10) * 10 // 49_990).bincount(minlength=10)).pvalue > 1e-3
    assert chisquare(drawn[~tail].bincount(minlength=10)).pvalue > 1e-3
    assert drawn.max() < 50_000


@given(data=st.data())
def test_a_choice_without_probability_is_never_drawn(data: st.DataObject) -> None:
    allowed = data.draw(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
    weights = torch.tensor([[data.draw(st.floats(1e-30, 1e30)) if ok else 0.0 for ok in allowed]])
    weights = weights.repeat(1, data.draw(st.sampled_from([1, 100])))
    extremes = torch.tensor([2.0**-53, 0.5, 1.0 - 2.0**-53, 1.0], dtype=torch.float64)
    for u in extremes:
        assert allowed[int(draw_categorical(weights, u[None])) % len(allowed)]


# -- subsets ---------------------------------------------------------------------------------------------


@given(data=st.data())
def test_subsets_have_the_size_asked_for(data: st.DataObject) -> None:
    among = torch.tensor(
        data.draw(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
    )
    counts = torch.tensor(data.draw(st.lists(st.integers(0, 8), min_size=len(among), max_size=len(among))))
    chosen = random_subset(among, counts, rows(range(len(among))).uniform(6))
    assert not bool((chosen & ~among).any())
    assert chosen.sum(1).tolist() == counts.minimum(among.sum(1)).tolist()


def test_every_subset_is_equally_likely() -> None:
    among = torch.tensor([[True, True, False, True, True]]).expand(6000, -1)
    chosen = random_subset(among, torch.full((6000,), 2), rows(range(6000)).uniform(5))
    kinds = (chosen * 2 ** torch.arange(5)).sum(1).unique(return_counts=True)[1]
    assert len(kinds) == 6
    assert chisquare(kinds).pvalue > 1e-3


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 0.0])
@pytest.mark.parametrize("size", [5, 700])
def test_weights_without_a_finite_sum_give_an_index_inside(wrong: float, size: int) -> None:
    found = draw_categorical(torch.full((3, size), wrong), torch.full((3,), 0.5, dtype=torch.float64))
    assert bool(((found >= 0) & (found < size)).all())


@given(size=st.integers(1, 2000), seed=st.integers(0, 999))
def test_many_choices_are_inverted_as_one_sum_would_be(size: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    weights = torch.rand(4, size, generator=draws, dtype=torch.float64) ** 8
    u = torch.rand(4, generator=draws, dtype=torch.float64)
    found = draw_categorical(weights, u)
    edges = torch.nn.functional.pad(weights.cumsum(1), (1, 0)) / weights.sum(1, keepdim=True)
    low, high = (edges.gather(1, (found + more)[:, None])[:, 0] for more in (0, 1))
    assert bool((low - 1e-12 <= u).all())
    assert bool((u <= high + 1e-12).all())
