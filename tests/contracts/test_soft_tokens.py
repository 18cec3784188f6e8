"""Soft tokens by their largest coordinates, against all coordinates drawn one by one."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chisquare, ks_2samp, norm
from torch import Tensor

from textdiffusion.errors import SettingsError
from textdiffusion.gaussian import argmax_noise
from textdiffusion.randomness import RowGenerator
from textdiffusion.soft_tokens import SoftNoise, SoftTokens, different, largest_normals

MASK, VOCAB = 2, 7
WORDS = [0, 1, 3, 4, 5, 6]
DRAWS = 20_000


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(ratio: float) -> Tensor:
    return torch.tensor([[ratio]], dtype=torch.float64)


def drawn(noise: SoftNoise, token: int, ratio: float, seed: int = 0) -> SoftTokens:
    """Many soft tokens in the place of one token, as a text that is nothing else."""
    return noise.draw(torch.full((1, DRAWS), token), at(ratio), RowGenerator.for_rows([seed]))


def by_hand(token: int, ratio: float, temperature: float) -> Tensor:
    """The same by all coordinates: [draws, vocab], the mask at 0."""
    noise = torch.randn(DRAWS, VOCAB, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise[:, token] += ratio
    noise[:, MASK] = -torch.inf
    return (noise / (temperature * math.sqrt(1.0 + ratio**2))).softmax(-1)


def spread(soft: SoftTokens) -> Tensor:
    """[draws, vocab]."""
    weights = torch.zeros(DRAWS, VOCAB)
    return weights.scatter(1, soft.ids[0], soft.weights[0])


# -- the largest of many ---------------------------------------------------------------------------------


@pytest.mark.parametrize("among", [4, 9])
def test_the_largest_are_those_of_a_sorted_draw(among: int) -> None:
    found = largest_normals(numbers(DRAWS, 4), among)
    drawn = torch.randn(DRAWS, among, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sorted_ = drawn.sort(descending=True).values[:, :4]
    assert bool((found.diff(dim=1) <= 0.0).all())
    for rank in range(4):
        assert ks_2samp(found[:, rank], sorted_[:, rank]).pvalue > 1e-3
    for low, high in ((0, 1), (0, 3), (2, 3)):
        gaps = [of[:, low] - of[:, high] for of in (found, sorted_)]
        assert ks_2samp(*gaps).pvalue > 1e-3


@pytest.mark.parametrize("among", [50_000, 1_000_000])
def test_of_very_many_the_tail_keeps_its_digits(among: int) -> None:
    """Phi(z)^n is the uniform number, though Phi(z) is 1 but for its last digits."""
    uniform = torch.tensor([[1e-12], [0.01], [0.5], [0.99], [1 - 1e-9]], dtype=torch.float64)
    z = largest_normals(uniform, among)
    torch.testing.assert_close(among * torch.special.log_ndtr(z), uniform.log(), rtol=1e-9, atol=0)
    mean, _ = quad(lambda x: x * among * norm.pdf(x) * norm.cdf(x) ** (among - 1), 0.0, 9.0, limit=200)
    found = largest_normals(numbers(DRAWS, 1), among)
    assert float(found.mean()) == pytest.approx(mean, abs=5 * float(found.std()) / math.sqrt(DRAWS))


def test_the_smallest_of_few_are_numbers() -> None:
    found = largest_normals(torch.full((1, 3), 1e-15, dtype=torch.float64), 3)
    assert bool(found.isfinite().all()) and float(found[0, -1]) < -7.0


def test_every_choice_in_every_order_comes_alike() -> None:
    found = different(numbers(30_000, 3), 5)
    expected = {order: place for place, order in enumerate(permutations(range(5), 3))}
    counts = torch.zeros(60)
    for order in found.tolist():
        counts[expected[tuple(order)]] += 1
    assert chisquare(counts).pvalue > 1e-3


@given(among=st.integers(1, 12), top=st.integers(1, 12), seed=st.integers(0, 999))
def test_no_number_comes_twice(among: int, top: int, seed: int) -> None:
    top = min(among, top)
    found = different(numbers(4, 3, top, seed=seed), among)
    assert found.min() >= 0 and found.max() < among
    assert all(len(set(row)) == top for row in found.view(-1, top).tolist())


# -- the law of soft tokens ------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "ratio", "top"), [(0, 0.5, 1), (3, 1.2, 2), (6, 2.0, 99)])
def test_the_largest_is_uniform_noise(token: int, ratio: float, top: int) -> None:
    """With alpha = T(A / B) exactly, and any other word alike."""
    found = drawn(SoftNoise(MASK, VOCAB, 1e-3, top), token, ratio).largest[0].bincount(minlength=VOCAB)
    alpha = float(argmax_noise(6).alpha(at(ratio)))
    expected = [DRAWS * ((1 - alpha) / 6 + alpha * (word == token)) for word in WORDS]
    assert found[MASK] == 0
    assert chisquare(found[WORDS], expected).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_all_coordinates_have_the_law_of_a_softmax(temperature: float) -> None:
    found = spread(drawn(SoftNoise(MASK, VOCAB, temperature, 99), 3, 1.2))
    expected = by_hand(3, 1.2, temperature)
    torch.testing.assert_close(found.sum(1), torch.ones(DRAWS))
    for word in (3, 0, 6):
        assert ks_2samp(found[:, word], expected[:, word]).pvalue > 1e-3
    sides = [of[:, 3] * of[:, 5] + of[:, 0] for of in (found, expected)]
    assert ks_2samp(*sides).pvalue > 1e-3


def test_the_largest_alone_have_the_law_of_these() -> None:
    """Two others of five, and the word itself wherever it stands, brought to a sum of 1."""
    soft = drawn(SoftNoise(MASK, VOCAB, 0.3, 2), 3, 1.2)
    whole = by_hand(3, 1.2, 0.3)
    others = whole.clone()
    others[:, 3] = 0.0
    kept = torch.zeros_like(whole).scatter(1, others.topk(2).indices, others.topk(2).values)
    kept[:, 3] = whole[:, 3]
    kept = kept / kept.sum(1, keepdim=True)
    found = spread(soft)
    assert bool((soft.weights.diff(dim=-1) <= 0.0).all())
    for word in (3, 0, 6):
        assert ks_2samp(found[:, word], kept[:, word]).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.03, 0.1])
@pytest.mark.parametrize("top", [4, 30])
def test_what_is_left_out_is_known(temperature: float, top: int) -> None:
    """Against all coordinates of 299 words; never far below it, and near it where it is little."""
    ratio, count = 2.5, 4_000
    noise = torch.randn(count, 299, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[:, 0] += ratio
    weights = (noise / (temperature * math.sqrt(1.0 + ratio**2))).softmax(-1)
    left = 1.0 - weights[:, 0] - weights[:, 1:].topk(top).values.sum(1)
    found = SoftNoise(299, 300, temperature, top).left_out(ratio)
    noise_of_both = 5 * float(left.std()) * (1 / math.sqrt(count) + 1 / math.sqrt(512))
    assert found > float(left.mean()) - noise_of_both
    assert found < 1.3 * float(left.mean()) + noise_of_both
    assert SoftNoise(299, 300, temperature, 298).left_out(ratio) == 0.0


@pytest.mark.parametrize("temperature", [1e-8, 1e-3, 1e3])
def test_any_temperature_gives_numbers(temperature: float) -> None:
    noise = SoftNoise(0, 50_000, temperature, 8)
    soft = noise.draw(torch.full((1, 200), 7), at(2.5), RowGenerator.for_rows([0]))
    assert bool(soft.weights.isfinite().all())
    torch.testing.assert_close(soft.weights.sum(-1), torch.ones(1, 200))
    assert 0.0 <= noise.left_out(2.5) <= 1.0
    if temperature < 1e-3:
        assert float(soft.weights[..., 0].mean()) > 0.9999


def test_a_place_hangs_on_its_row_and_column_alone() -> None:
    noise = SoftNoise(MASK, VOCAB, 0.2, 3)
    x0 = torch.tensor(WORDS).repeat(3, 2)
    ratio = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    whole = noise.draw(x0, ratio, RowGenerator.for_rows([4, 5, 6]))
    part = noise.draw(x0[1:, :5], ratio[1:], RowGenerator.for_rows([5, 6]))
    assert torch.equal(whole.ids[1:, :5], part.ids)
    assert torch.equal(whole.weights[1:, :5], part.weights)
    assert all(len(set(ids)) == 4 and MASK not in ids for ids in whole.ids.view(-1, 4).tolist())


def test_elsewhere_tokens_stay_as_they_are() -> None:
    x0 = torch.tensor([[0, 1, 3, 4]])
    soft = SoftNoise(MASK, VOCAB, 0.5, 2).draw(x0, at(0.5), RowGenerator.for_rows([0]))
    where = torch.tensor([[False, True, False, True]])
    found = soft.only(where, torch.tensor([[MASK, 0, 5, 0]]))
    assert torch.equal(found.ids[where], soft.ids[where])
    assert torch.equal(found.weights[where], soft.weights[where])
    assert found.largest[~where].tolist() == [MASK, 5]
    assert found.weights[~where].tolist() == [[1.0, 0.0, 0.0]] * 2
    hard = SoftTokens.hard(x0)
    assert torch.equal(hard.largest, x0) and hard.weights.shape == (1, 4, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"top": 0}, "top is 0"),
        ({"vocab_size": 2}, "vocab_size is 2"),
    ],
)
def test_what_gives_no_weights_is_refused(changes: dict[str, float], said: str) -> None:
    given = {"mask_id": 0, "vocab_size": 9, "temperature": 0.1, "top": 2, **changes}
    with pytest.raises(SettingsError, match=said):
        SoftNoise(**given)  # type: ignore[arg-type]
