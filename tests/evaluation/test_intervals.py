"""Standard errors and intervals against scipy, against formulas, and against the truth in simulations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from textdiffusion.evaluation.intervals import Means, Measured, _reach, bootstrap, column, measured, ratio

SIMULATIONS, TEXTS, DRAWS = 2000, 100, 600
Table = NDArray[np.float64]


def share(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 1])


def long_tailed(random: np.random.Generator) -> Table:
    """Nats and tokens of documents whose lengths differ by orders of magnitude, the longer ones easier."""
    tokens = np.ceil(np.exp(random.normal(4.0, 0.7, TEXTS)))
    rate = 3.0 - 0.1 * np.log(tokens) + random.normal(0.0, 0.4, TEXTS)
    return np.stack([tokens * rate, tokens], axis=1)


def true_share() -> float:
    """Of `long_tailed`, by summing over all lengths."""
    tokens = np.arange(1.0, 20_000.0)
    weight = np.diff(stats.norm.cdf((np.log(np.arange(0.0, 20_000.0).clip(1e-9)) - 4.0) / 0.7)) * tokens
    return float((weight * (3.0 - 0.1 * np.log(tokens))).sum() / weight.sum())


def exponential(random: np.random.Generator) -> Table:
    return random.exponential(2.0, (TEXTS, 1))


def paired(random: np.random.Generator) -> Table:
    """Two models on the same documents: the second is better by 0.3 in the mean."""
    common = random.gamma(2.0, 1.0, TEXTS)
    return np.stack([common + random.normal(0.3, 0.5, TEXTS), common], axis=1)


def difference(means: Means) -> Means:
    return means[..., 0] - means[..., 1]


@pytest.mark.parametrize(
    ("draw", "statistic", "truth"),
    [
        (exponential, column(0), lambda: 2.0),
        (paired, difference, lambda: 0.3),
        (long_tailed, share, true_share),
    ],
    ids=["mean", "paired", "ratio"],
)
def test_intervals_hold_the_truth(
    draw: Callable[[np.random.Generator], Table],
    statistic: Callable[[Means], Means],
    truth: Callable[[], float],
) -> None:
    """Of 2,000 intervals at 100 texts 93 to 97 % hold it, and about as many miss it on either side."""
    random, true = np.random.default_rng(0), truth()
    found = [bootstrap(draw(random), {"x": statistic}, seed, draws=DRAWS)["x"] for seed in range(SIMULATIONS)]
    low, high = (np.array([getattr(each, end) for each in found]) for end in ("low", "high"))
    held = float(((low <= true) & (true <= high)).mean())
    assert 0.93 <= held <= 0.97
    assert max(float((true < low).mean()), float((high < true).mean())) < 0.05
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.06)


def test_the_interval_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its reach, which is theirs for a spread that is known."""
    monkeypatch.setattr("textdiffusion.evaluation.intervals._reach", lambda off: stats.norm.ppf(0.975))
    table = long_tailed(np.random.default_rng(3))
    own = bootstrap(table, {"x": share}, 0, draws=20_000)["x"]
    theirs = stats.bootstrap(
        tuple(table.T),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(1),
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert own.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert own.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)
    assert own.error == pytest.approx(theirs.standard_error, rel=0.03)


def test_the_reach_is_that_of_students_t() -> None:
    off = np.array([-1.0, 1.0] * 25 + [-2.0, 2.0] * 5)
    kurtosis = stats.kurtosis(off, fisher=False)
    expected = stats.t.ppf(0.975, min(59.0, 2 * 60 / (kurtosis - 1.0))) * math.sqrt(60 / 59)
    assert _reach(off) == pytest.approx(expected, rel=1e-3)
    assert _reach(np.append(off, 15.0)) > 1.2 * expected, "one text that weighs much"


def test_the_error_of_a_mean_is_the_textbook_one() -> None:
    table = np.random.default_rng(0).normal(0.0, 3.0, (400, 2))
    found = measured(table.tolist(), {"left": column(0)}, 0)
    assert found["left"] == pytest.approx(table[:, 0].mean())
    assert found["left_error"] == pytest.approx(table[:, 0].std(ddof=1) / 20.0, rel=0.08)
    assert found == measured(table.tolist(), {"left": column(0)}, 0), "the seed decides"


def test_one_text_has_no_error_and_equal_ones_have_none_either() -> None:
    assert bootstrap([[4.0]], {"x": column(0)}, 0)["x"] == Measured(4.0, None, None, None)
    same = bootstrap([[4.0, 2.0]] * 5, {"x": share}, 0)["x"]
    assert (same.value, same.error, same.low, same.high) == (2.0, 0.0, 2.0, 2.0)
    assert same.row("x") == {"x": 2.0, "x_error": 0.0, "x_low": 2.0, "x_high": 2.0}


def test_large_tables_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(50, 2))
    whole = bootstrap(table, {"x": column(1)}, 5)
    monkeypatch.setattr("textdiffusion.evaluation.intervals._AT_ONCE", 700)
    assert bootstrap(table, {"x": column(1)}, 5) == whole
