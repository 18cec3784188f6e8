"""The exact likelihood of samplers, against an enumeration of all that they can do."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from lengths.known import IS, A, B, small_model
from scipy.stats import chisquare
from torch import Tensor

from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.evaluation import Bound, Duel, Passage, score
from textdiffusion.evaluation.methods import METHODS, Scoring
from textdiffusion.generation import Decoding, sample
from textdiffusion.language_model import DiffusionLM
from textdiffusion.samplers import SAMPLERS

from .oracle import LENGTH, MASK, WORDS, oracle

PATHS = {"margin", "peak", "entropy", "entropy-bounded", "autoregressive"}
TEXTS = [list(text) for text in product(range(WORDS), repeat=LENGTH)]


def blurred(ids: Tensor) -> Tensor:
    """No oracle: its conditionals belong to no joint, so that each order has a law of its own."""
    return 0.5 * oracle()(ids) + 0.4 * torch.arange(4).flip(0) * (ids == MASK).sum(1)[:, None, None]


def model(denoiser: Callable[[Tensor], Tensor] = blurred) -> DiffusionLM:
    lm = small_model()
    lm.denoiser, lm.corruption = as_denoiser(denoiser), Absorbing(MASK)
    return lm


def likelihood(decoding: Decoding, denoiser: Callable[[Tensor], Tensor] = blurred) -> Tensor:
    """p of each of the 81 texts."""
    found = score(model(denoiser), [Passage(text, [True] * LENGTH) for text in TEXTS], Duel(decoding))
    assert found.standard_error.tolist() == [0.0] * len(TEXTS)
    return (-found.mean).exp()


# -- an enumeration that shares no code with the samplers -------------------------------------------------

Rank = Callable[[list[list[float]], list[int]], list[int]]
"""Distributions at all positions, and the open ones, to these in the order in which they are written."""


def by(key: Callable[[list[float]], float]) -> Rank:
    return lambda p, still: sorted(still, key=lambda place: (-round(key(p[place]), 4), place))


def entropy(p: list[float]) -> float:
    return sum(x * torch.tensor(x).log().item() for x in p)


RANKS: dict[str, Rank] = {
    "margin": by(lambda p: sorted(p)[-1] - sorted(p)[-2]),
    "peak": by(max),
    "entropy": by(entropy),
    "autoregressive": lambda p, still: still,
}


def enumerated(rank: Rank, per_step: int) -> dict[tuple[int, ...], float]:
    """The probability of each text, by following every branch that the draws can take."""
    law: dict[tuple[int, ...], float] = {(MASK,) * LENGTH: 1.0}
    for _ in range(-(-LENGTH // per_step)):
        following: dict[tuple[int, ...], float] = {}
        for state, mass in law.items():
            said = blurred(torch.tensor([state]))[0, :, :WORDS].softmax(-1).tolist()
            places = rank(said, [i for i in range(LENGTH) if state[i] == MASK])[:per_step]
            for words in product(range(WORDS), repeat=len(places)):
                after, p = list(state), mass
                for place, word in zip(places, words, strict=True):
                    after[place], p = word, p * said[place][word]
                following[tuple(after)] = following.get(tuple(after), 0.0) + p
        law = following
    return law


@pytest.mark.parametrize("sampler", list(RANKS))
@pytest.mark.parametrize("per_step", [1, 2, 4])
def test_the_likelihood_is_that_of_all_branches(sampler: str, per_step: int) -> None:
    blocks = {"block_size": per_step} if sampler == "autoregressive" else {"steps": LENGTH // per_step}
    found = likelihood(Decoding().changed({"sampler": sampler, **blocks}))
    law = enumerated(RANKS[sampler], per_step)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    expected = torch.tensor([law[tuple(text)] for text in TEXTS], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("entropy-bounded", {"gamma": 0.8}),
    ("margin", {"block_size": 2}),
    ("margin", {"steps": 2, "schedule": "cosine"}),
    ("peak", {"steps": 3}),
]


@pytest.mark.parametrize(("sampler", "options"), CASES)
def test_texts_come_as_often_as_the_likelihood_says(sampler: str, options: dict[str, Any]) -> None:
    found = likelihood(Decoding().changed({"sampler": sampler, **options}))
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    canvas, source = torch.full((10_000, LENGTH), MASK), torch.Generator().manual_seed(1)
    drawn = sample(blurred, canvas, mask_id=MASK, sampler=sampler, generator=source, **options)
    assert chisquare(oracle().counts(drawn), (found / found.sum() * 10_000).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("sampler", sorted(PATHS))
def test_one_token_a_step_of_the_oracle_is_its_joint(sampler: str) -> None:
    options = {"gamma": 0.0} if sampler == "entropy-bounded" else {}
    found = likelihood(Decoding().changed({"sampler": sampler, **options}), oracle())
    torch.testing.assert_close(found, oracle().joint, atol=1e-6, rtol=1e-4)


def test_many_tokens_a_step_lose_likelihood() -> None:
    """In the mean, by what the tokens tell about each other; the bound does not see it."""
    nats = [
        -float((oracle().joint * likelihood(Decoding("margin", steps=steps), oracle()).log()).sum())
        for steps in (4, 2, 1)
    ]
    assert nats[0] < nats[1] < nats[2]


# -- real networks ---------------------------------------------------------------------------------------


def passages(lm: DiffusionLM, sizes: Sequence[tuple[int, int]] = ((3, 5), (1, 2), (4, 9))) -> list[Passage]:
    return [Passage.answer([A] * a + [IS], [B, A, B] * b, seed) for seed, (a, b) in enumerate(sizes)]


@pytest.mark.parametrize("block_size", [None, 4])
def test_the_batch_changes_nothing(block_size: int | None) -> None:
    lm = small_model(block_size=block_size)
    way = Duel(Decoding(sampler="entropy", tokens_per_step=2))
    together = score(lm, passages(lm), way).mean
    alone = torch.cat([score(lm, [passage], way).mean for passage in passages(lm)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def test_left_to_right_in_blocks_of_one_is_the_autoregressive_likelihood() -> None:
    """A network of blocks of one token, asked with its cache by the sampler and without by the bound."""
    lm = small_model(block_size=1)
    duel = score(lm, passages(lm), Duel(Decoding(sampler="autoregressive")))
    torch.testing.assert_close(duel.mean, score(lm, passages(lm), Bound()).mean, atol=1e-4, rtol=1e-5)


# -- refusals --------------------------------------------------------------------------------------------


def test_only_orders_blind_to_chance_have_a_likelihood() -> None:
    reasons = {name: recipe.sampler.many_paths for name, recipe in SAMPLERS.items()}
    assert {name for name, reason in reasons.items() if not reason} == PATHS
    for name, said in {
        "ancestral": "left to chance",
        "first-hitting": "left to chance",
        "posterior": "left to chance",
        "confidence": "the tokens that are drawn",
        "threshold": "the tokens that are drawn",
        "edit": "more than once",
        "refine": "more than once",
        "guide": "takes tokens back",
        "confidence-remask": "the tokens that are drawn",
    }.items():
        assert said in reasons[name]
        with pytest.raises(IncompatibleError, match=said) as caught:
            likelihood(Decoding(sampler=name))
        assert all(other in str(caught.value) for other in PATHS)


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.9}])
def test_only_the_models_own_distribution_is_measured(option: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="own distribution"):
        likelihood(Decoding(sampler="margin", **option))
    plain = Decoding(sampler="margin", temperature=1.0, top_k=0, top_p=1.0)
    torch.testing.assert_close(likelihood(plain), likelihood(Decoding(sampler="margin")))


def test_methods_by_name() -> None:
    assert set(METHODS) == {"bound", "bound-time", "duel"}
    assert Scoring().chosen() == Bound()
    assert Scoring(method="duel", steps=3).chosen() == Duel(Decoding(sampler="margin", steps=3))
    assert Scoring(method="bound-time", samples=2, antithetic=False).samples == 2
    with pytest.raises(SettingsError, match="samples is 0"):
        Scoring(samples=0)
