"""The parts by themselves: fibres, buckets, the shapes of passes, and percentiles."""

import math
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.denoisers import FunctionDenoiser
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.errors import SettingsError
from textdiffusion.serving import Limits
from textdiffusion.serving.fibre import Fibre, Left
from textdiffusion.serving.merging import Fixed, Padded, Reader
from textdiffusion.serving.metrics import spread
from textdiffusion.serving.questions import Look, joined, parted
from textdiffusion.serving.resuming import Resumption

from .toy import language_model


def look(rows: int, width: int, first: int = 0) -> Look:
    tokens = torch.arange(first, first + rows * width).view(rows, width)
    return Look.of(tokens, torch.zeros(rows, 1), None, None, tokens % 2 == 0)


def test_a_fibre_stops_in_the_depth_of_its_calls() -> None:
    found: list[object] = []

    def work(ask: object) -> None:
        def deep(times: int) -> int:
            return ask(times) if times == 0 else deep(times - 1) + ask(times)  # type: ignore[operator]

        try:
            found.append(deep(2))
            ask("more")  # type: ignore[operator]
        except Left:
            found.append("left")

    fibre: Fibre[object, int] = Fibre(work, "textdiffusion-test")
    assert fibre.begin() == 0
    assert fibre.go_on(lambda: 10) == 1
    assert fibre.go_on(lambda: 20) == 2
    assert fibre.go_on(lambda: 30) == "more"
    fibre.leave()
    assert found == [60, "left"]
    assert "textdiffusion-test" not in [thread.name for thread in threading.enumerate()]


@given(st.integers(1, 4096))
def test_buckets_waste_little(width: int) -> None:
    reader = Reader(FunctionDenoiser(lambda ids: ids), 0)
    wide = reader.bucket(width)
    assert 0 <= wide - width <= max(7, width / 8)
    assert reader.bucket(wide) == wide


def test_buckets_end_where_the_positions_of_the_network_do() -> None:
    lm = language_model()
    longest = lm.denoiser.longest
    assert longest is not None
    assert Reader(lm.denoiser, 0).bucket(longest - 1) == longest == Reader(lm.denoiser, 0).bucket(longest)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=5))
def test_what_is_joined_is_parted_again(shapes: list[tuple[int, int]]) -> None:
    looks = [look(rows, width, 100 * number) for number, (rows, width) in enumerate(shapes)]
    whole = joined(looks, 12, pad_id=-1)
    assert whole.where is not None
    said = whole.xt[..., None].float()[whole.where]
    for own, part in zip(looks, parted(said, looks), strict=True):
        assert torch.equal(part[:, 0].long(), own.xt[own.where])
    assert int(whole.seen.sum()) == sum(rows * width for rows, width in shapes)
    assert bool((whole.xt[~whole.seen] == -1).all())


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.integers(1, 3000))
def test_the_padding_of_a_pass_is_bounded(widths: list[int], budget: int) -> None:
    reader, rule = Reader(FunctionDenoiser(lambda ids: ids), 0), Padded()
    chosen = [look(1, widths[0])]
    for width in widths[1:]:
        if rule.takes(reader, chosen, look(1, width), budget):
            chosen.append(look(1, width))
    rows, columns = rule.shape(reader, chosen, budget)
    used = sum(reader.bucket(own.columns) for own in chosen)
    assert len(chosen) * columns - used <= 0.25 * len(chosen) * columns
    assert rows == 1 or rows * columns <= budget
    assert len(chosen) == 1 or rows == len(chosen)


def test_passes_of_fixed_shape_have_it() -> None:
    shapes = []

    def network(ids: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(ids.shape))
        return ids[..., None].float()

    reader, rule = Reader(FunctionDenoiser(network), 0), Fixed(rows=4)
    looks = [look(2, 5), look(3, 7, 50)]
    found = rule.answers(reader, looks, budget=1000)
    for own, said in zip(looks, found.logits, strict=True):
        assert torch.equal(said[:, 0].long(), own.xt[own.where])
    assert shapes == [(4, 8), (4, 8)]
    assert found.columns == 64
    assert not rule.takes(reader, [look(1, 5)], look(1, 9), 1000), "another bucket"
    assert not rule.takes(reader, [look(3, 5)], look(2, 5), 1000), "too many rows"
    assert rule.takes(reader, [look(2, 5)], look(2, 8), 1000)


@pytest.mark.parametrize("block_size", [4, None])
@torch.inference_mode()
def test_pasts_of_unequal_length_share_a_pass(block_size: int | None) -> None:
    denoiser = language_model(block_size=block_size).denoiser
    assert isinstance(denoiser, OwnDenoiser)
    draws, alone, crowd = torch.Generator().manual_seed(1), [], []
    for rows, start, new in [(1, 4, 4), (2, 8, 4), (1, 0, 8), (2, 12, 3)]:
        ids = torch.randint(5, 200, (rows, start + new), generator=draws)
        t, seen = torch.zeros(rows, 1), torch.ones(rows, start + new, dtype=torch.bool)
        seen[-1, -1] = False
        positions = torch.arange(start + new).expand(rows, -1)
        where = (ids[:, start:] % 2 == 0) & seen[:, start:]
        for kept in (alone, crowd):
            past = denoiser.past(rows, start + new)
            if start:
                denoiser.resume(
                    past, ids[:, :start], t, attend=seen[:, :start], positions=positions[:, :start]
                )
            kept.append(
                Resumption(past.at(start), ids[:, start:], t, seen, positions[:, start:], where, block_size)
            )
    expected = [one.answer(denoiser) for one in alone]
    found = crowd[0].together(crowd[1:], denoiser, rows=100, width=16, pad_id=0)
    assert found.passes == 1
    split = alone[0].together(alone[1:], denoiser, rows=2, width=16, pad_id=0)
    assert split.passes == 4
    for one, other, said, again, right in zip(
        alone, crowd, found.logits, split.logits, expected, strict=True
    ):
        assert torch.allclose(said, right, atol=1e-4)
        assert torch.equal(again, right)
        assert torch.allclose(one.past.keys, other.past.keys, atol=1e-4)
        assert torch.allclose(one.past.values, other.past.values, atol=1e-4)


def test_percentiles_by_hand() -> None:
    assert spread([float(n) for n in range(1, 101)]) == spread([float(n) for n in range(100, 0, -1)])
    found = spread([float(n) for n in range(1, 101)])
    assert (found.p50, found.p95) == (50.0, 95.0)
    assert math.isnan(spread([]).p50)


@pytest.mark.parametrize("wrong", [{"queue": 0}, {"running": 0}, {"tokens_per_pass": -1}, {"seconds": 0.0}])
def test_limits_that_serve_nobody(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=rf"{next(iter(wrong))} is"):
        Limits(**wrong)
