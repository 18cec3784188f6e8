"""Figures of what was written, and when a finding holds, does not, or cannot be told."""

import math

import pytest
from lengths.known import BEGIN, IS, A, B, Known, known_model, small_model

from textdiffusion.evaluation.experiment import (
    DIFFERENT,
    FIGURES,
    LIKELIHOOD,
    Claim,
    Expectation,
    Figure,
    Outcome,
    least,
    most,
    outcome,
    own_nats,
)
from textdiffusion.evaluation.variety import distinct_n, repetition, token_entropy
from textdiffusion.generation import Decoding


def outcomes(**means: tuple[float, float | None]) -> dict[str, Outcome]:
    return {name: Outcome((), {"x": Figure(*pair)}) for name, pair in means.items()}


def test_means_and_errors_by_hand() -> None:
    assert Figure.of([1.0, 3.0]) == Figure(2.0, 1.0)  # a deviation of sqrt(2) over sqrt(2)
    assert Figure.of([5.0]) == Figure(5.0, None)
    assert Figure.of([math.nan, 4.0]) == Figure(4.0, None)
    nothing = Figure.of([math.nan])
    assert math.isnan(nothing.mean) and nothing.error is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1.0, 0.1), (1.5, 0.1), True),  # 1.2 < 1.3
        ((1.5, 0.1), (1.0, 0.1), False),
        ((1.0, 0.1), (1.3, 0.1), None),
        ((1.0, 0.0), (1.0, 0.0), None),
        ((0.5, 0.0), (1.0, 0.0), True),
        ((1.0, None), (9.0, 0.1), None),
        ((math.nan, 0.1), (9.0, 0.1), None),
    ],
)
def test_intervals_tell_apart(
    a: tuple[float, float | None], b: tuple[float, float | None], expected: bool | None
) -> None:
    assert Figure(*a).below(Figure(*b)) is expected


@pytest.mark.parametrize(("high", "expected"), [(9.0, True), (2.1, None), (0.0, False)])
def test_a_finding_holds_if_all_its_claims_do(high: float, expected: bool | None) -> None:
    found = outcomes(low=(1.0, 0.1), mid=(2.0, 0.1), high=(high, 0.1))
    assert Expectation("", (Claim("x", "low", "mid"), Claim("x", "mid", "high"))).holds(found) is expected


def test_a_contradiction_outweighs_doubt() -> None:
    found = outcomes(a=(1.0, 0.1), b=(1.0, 0.1), c=(0.0, 0.1))
    assert Expectation("", least("x", "a", ("b", "c"))).holds(found) is False
    assert most("x", "a", ("b",)) == (Claim("x", "b", "a"),)


def test_figures_are_those_of_the_texts() -> None:
    lm, decoding = small_model(learns_end=False), Decoding(sampler="random")
    found = outcome(lm, "aa=", decoding, length=9, seeds=range(4), draws=3)
    assert tuple(found.figures) == FIGURES
    texts = [lm.generate("aa=", length=9, seed=seed, decoding=decoding) for seed in range(4)]
    assert found.texts == tuple(text.text for text in texts)
    rows = [text.token_ids for text in texts]
    by_hand = {
        "distinct_1": [distinct_n([row], 1) for row in rows],
        "distinct_2": [distinct_n([row], 2) for row in rows],
        "repeated_3_grams": [repetition(row, 3) for row in rows],
        "token_entropy": [token_entropy(row) for row in rows],
        "tokens": [9.0] * 4,
    }
    for name, values in by_hand.items():
        assert found.figures[name] == Figure.of(values)
    assert found.figures[DIFFERENT] == Figure(len({tuple(row) for row in rows}) / 4, 0.0)


def test_likelihood_is_that_of_the_new_tokens_given_the_prompt() -> None:
    lm = known_model(Known(0.9))
    given = [BEGIN, A, A, IS]
    # A right token has 0.9, and each of the six wrong ones a sixth of the rest.
    right, wrong = -math.log(0.9), -math.log(0.1 / 6)
    assert own_nats(lm, given, [B, B], 1) == pytest.approx(right, abs=1e-5)
    assert own_nats(lm, given, [B, A], 4000) == pytest.approx((right + wrong) / 2, abs=0.1)
    assert math.isnan(own_nats(lm, given, [], 3))


def test_empty_texts_have_no_likelihood() -> None:
    lm = known_model(Known(0.999999))
    found = outcome(lm, "=", Decoding(sampler="confidence", temperature=0.0), length=3, seeds=[0, 1], draws=2)
    assert found.texts == ("", "")
    assert math.isnan(found.figures[LIKELIHOOD].mean)
    assert found.figures["tokens"].mean == 0.0
    assert found.figures[DIFFERENT].mean == 0.5
