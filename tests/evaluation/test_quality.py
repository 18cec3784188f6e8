"""Metrics of written text, what deceives them, and what is best for its cost."""

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lengths.known import BEGIN, IS, A, B, small_model

from textdiffusion.errors import DataError, SettingsError, UnknownNameError
from textdiffusion.evaluation import Bound, Passage, score
from textdiffusion.evaluation.intervals import Measured, jackknife
from textdiffusion.evaluation.quality import (
    ABOVE,
    BELOW,
    LESS,
    METRICS,
    MORE,
    Material,
    Metric,
    Scorer,
    Texts,
)
from textdiffusion.evaluation.quality.copying import find_copies
from textdiffusion.evaluation.quality.judging import loss, pareto, suspicions, told
from textdiffusion.evaluation.quality.texts import behind_prompts, held_out
from textdiffusion.evaluation.quality.ways import Sweep
from textdiffusion.generation import Decoding

LM = small_model()


def texts_of(*written: Sequence[int]) -> Texts:
    return behind_prompts(LM.format, [[BEGIN, A]] * len(written), written)


SOME = texts_of([A, B, A], [B, B, B, B], [IS, A])
NOTHING = Material(texts_of([A]))


# -- figures ---------------------------------------------------------------------------------------------


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert metric.about and metric.measure.__doc__, name
        assert bool(metric.gamed) == bool(metric.guards), name
        assert set(metric.guards) <= set(METRICS), name
        assert set(metric.guards.values()) <= {ABOVE, BELOW}


def test_the_page_names_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "judge-samples.md").read_text("utf-8")
    named = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
        for name in re.findall("`([^`]+)`", row)
    }
    own = {name for name, row in METRICS.items() if row.measure.__module__.startswith("textdiffusion.")}
    assert named - {"--metrics"} == own


def test_a_number_for_each_text_or_one_for_all() -> None:
    each = Metric(lambda texts, material: [float(len(ids)) for ids in texts.written], "lengths")
    found = each.figure(SOME, NOTHING, 0)
    assert found.value == 3.0 and found.error is not None and found.low is not None
    whole = Metric(lambda texts, material: 5, "five")
    assert whole.figure(SOME, NOTHING, 0) == Measured(
        5.0, None, None, None
    )  # of three texts no error is known
    part = Metric(lambda texts, material: [1.0, math.nan, 2.0], "one is unknown")
    assert part.figure(SOME, NOTHING, 0).value == 1.5
    none = Metric(lambda texts, material: [math.nan] * 3, "nothing is known")
    assert math.isnan(none.figure(SOME, NOTHING, 0).value)
    wrong = Metric(lambda texts, material: [1.0], "one number of three")
    with pytest.raises(SettingsError, match="1 numbers for 3 texts"):
        wrong.figure(SOME, NOTHING, 0)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    """With groups of one the formula is that of the mean."""
    values = np.random.default_rng(0).normal(size=40)
    found = jackknife(lambda rows: float(values[list(rows)].mean()), 40, groups=20)
    assert found.value == pytest.approx(values.mean())
    single = jackknife(lambda rows: float(values[list(rows)].mean()), 40, groups=10)
    plain = values.std(ddof=1) / 40**0.5
    assert found.error == pytest.approx(plain, rel=0.35) and single.error == pytest.approx(plain, rel=0.5)
    assert found.low is not None and found.high is not None
    assert found.high - found.value == pytest.approx(2.093 * (found.error or 0.0), rel=1e-3)  # t, 19 degrees
    assert jackknife(lambda rows: 1.0, 19).error is None


@pytest.mark.parametrize(
    "name", ["token-entropy", "repetition", "tokens", "distinct-1", "distinct-2", "self-bleu"]
)
def test_what_needs_nothing(name: str) -> None:
    assert math.isfinite(METRICS[name].figure(SOME, NOTHING, 0).value)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(SettingsError, match="--scorer"):
        METRICS["perplexity"].figure(SOME, NOTHING, 0)
    with pytest.raises(SettingsError, match="--train-data"):
        METRICS["copied"].figure(SOME, NOTHING, 0)
    with pytest.raises(UnknownNameError, match="Did you mean perplexity"):
        METRICS["perplexty"]


# -- likelihood before a scorer --------------------------------------------------------------------------


def test_the_same_tokenizer_reads_the_very_ids() -> None:
    scorer = Scorer.of(LM, small_model(), samples=4)
    assert scorer.same_ids and not scorer.exact
    found = scorer.nats(SOME)
    passage = scorer._passage(SOME, 0)
    assert passage == Passage([BEGIN, A, A, B, A], [False, False, True, True, True], passage.seed)
    expected = float(score(LM, [passage], Bound(4)).mean)
    assert found[0] == (pytest.approx(expected), 3.0, 3.0)
    perplexity = METRICS["perplexity"].figure(SOME, Material(SOME, scorer), 0).value
    nats, tokens, size = np.array(found).sum(0)
    assert perplexity == pytest.approx(math.exp(nats / tokens))
    bits = METRICS["bits-per-byte"].figure(SOME, Material(SOME, scorer), 0).value
    assert bits == pytest.approx(nats / size / math.log(2))


def test_a_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer.of(LM, LM, samples=1)
    twice = texts_of([A, B], [A, B])
    first = scorer.nats(twice)
    assert first[0] == first[1]
    monkeypatch.setattr(
        "textdiffusion.evaluation.quality.scorer.score", lambda lm, passages, *_, **__: _none(passages)
    )
    assert scorer.nats(twice) == first


def _none(passages: Sequence[Passage]) -> Any:
    assert not passages
    return SimpleNamespace(mean=torch.zeros(0))


def test_another_tokenizer_reads_the_text() -> None:
    scorer = Scorer(LM, same_ids=False, method=Bound(2))
    passage = scorer._passage(SOME, 1)
    assert passage.ids == [BEGIN, A, B, B, B, B] and sum(passage.scored) == 4
    assert scorer.nats(texts_of([])) == [(0.0, 0.0, 0.0)]


def test_too_long_for_the_scorer() -> None:
    with pytest.raises(
        SettingsError, match="a text has 32 tokens of the scorer small, which holds 24: name a"
    ):
        Scorer.of(LM, LM).nats(texts_of([A] * 30))


def test_features_are_means_of_hidden_states() -> None:
    scorer = Scorer.of(LM, LM, tokens_at_once=6)
    found = scorer.features(SOME)
    ids, where = torch.tensor([[BEGIN, A, A, B, A]]), torch.tensor([[False, False, True, True, True]])
    by_hand = LM.denoiser.hidden(ids, torch.zeros(1, 1), where=where).mean(0)
    assert found.shape == (3, 48)
    assert torch.from_numpy(found[0]).allclose(by_hand, atol=1e-5)
    assert not scorer.features(texts_of([])).any()


# -- mauve -----------------------------------------------------------------------------------------------


def test_mauve_is_given_the_features_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    module = ModuleType("mauve")
    module.__dict__["compute_mauve"] = lambda **given: seen.update(given) or SimpleNamespace(mauve=0.5)
    monkeypatch.setitem(sys.modules, "mauve", module)
    scorer = Scorer.of(LM, LM)
    human = texts_of([A, A], [B, A])
    assert METRICS["mauve"].figure(SOME, Material(human, scorer), 0).value == 0.5
    assert np.array_equal(seen["p_features"], scorer.features(SOME))
    assert np.array_equal(seen["q_features"], scorer.features(human))
    with pytest.raises(SettingsError, match="lower --limit"):
        METRICS["mauve"].figure(SOME, Material(human.only([]), scorer), 0)


def test_mauve_itself_tells_texts_apart() -> None:
    pytest.importorskip("mauve")
    chance = np.random.default_rng(0)
    rows = [chance.integers(A, IS + 1, size=12).tolist() for _ in range(120)]
    scorer = Scorer.of(LM, LM)
    material = Material(texts_of(*rows[:60]), scorer)
    alike, other = (
        METRICS["mauve"].measure(each, material)
        for each in (texts_of(*rows[60:]), texts_of(*[[A] * 12] * 60))
    )
    assert isinstance(alike, float) and isinstance(other, float)
    assert other < 0.3 < 0.6 < alike <= 1.0


def test_mauve_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mauve", None)
    with pytest.raises(SettingsError, match=r"textdiffusion\[mauve\]"):
        METRICS["mauve"].figure(SOME, Material(SOME, Scorer.of(LM, LM)), 0)


# -- copying ---------------------------------------------------------------------------------------------

NUMBERS = "one two three four five six seven eight nine ten"


def test_copies_by_hand() -> None:
    training = ["Zero, ONE two three; four five six seven eight nine!", "eleven " * 20]
    found = find_copies([NUMBERS, "short text"], training)
    assert found.searched == 2
    assert found.share(NUMBERS) == pytest.approx(2 / 3)  # of the runs that begin with one, two and three
    assert found.longest(NUMBERS) == 9.0
    assert math.isnan(found.share("short text")) and found.longest("short text") == 0.0
    assert find_copies([NUMBERS], training, 0).share(NUMBERS) == 0.0


@given(st.integers(8, 30), st.integers(0, 40))
def test_a_passage_of_the_training_text_is_found(size: int, start: int) -> None:
    words = [f"word{number}" for number in range(80)]
    passage = " ".join(words[start : start + size])
    found = find_copies([passage], [" ".join(words)])
    assert found.share(passage) == 1.0 and found.longest(passage) == size


# -- who deceives, who is best ---------------------------------------------------------------------------


def figure(value: float, reach: float = 0.1) -> Measured:
    return Measured(value, reach / 2, value - reach, value + reach)


def test_a_likely_text_without_variety_deceives() -> None:
    metrics = {name: METRICS[name] for name in ("perplexity", "token-entropy", "self-bleu")}
    human = {"perplexity": figure(20.0), "token-entropy": figure(4.0), "self-bleu": figure(0.3)}

    def doubts(entropy: float, alike: float) -> list[str]:
        own = {"perplexity": figure(5.0), "token-entropy": figure(entropy), "self-bleu": figure(alike)}
        return [each.guard for each in suspicions("way", own, human, metrics)]

    assert doubts(3.95, 0.35) == doubts(4.5, 0.0) == []  # too varied is no way to look likely
    assert doubts(3.81, 0.49) == []  # the intervals still meet
    assert doubts(3.79, 0.3) == ["token-entropy"]
    assert doubts(3.7, 0.6) == ["token-entropy", "self-bleu"]
    own = {"perplexity": figure(5.0), "token-entropy": figure(3.7)}
    first, second = told(suspicions("greedy", own, human, metrics), METRICS)
    assert first.startswith("perplexity may deceive: text that repeats itself")
    assert second == "  greedy: token-entropy 3.7 (human text 3.9 to 4.1)"


def test_less_more_or_as_human_text() -> None:
    kinds = [Metric(lambda texts, material: 0, "", better) for better in (LESS, MORE, 0)]
    assert [loss(kind, 3.0, 2.0) for kind in kinds] == [3.0, -3.0, 1.0]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_nobody_beats_the_best_for_their_cost(points: list[tuple[int, int]]) -> None:
    best = pareto([(float(cost), float(bad)) for cost, bad in points])
    for number, (cost, bad) in enumerate(points):
        beaten = any(c <= cost and b <= bad and (c, b) != (cost, bad) for c, b in points)
        twin = any(points[other] == (cost, bad) for other in best)
        assert (number in best or twin) is not beaten


# -- ways and human texts --------------------------------------------------------------------------------


def test_a_sweep_is_all_that_has_a_meaning() -> None:
    sweep = Sweep(
        ("random", "first_hitting", "threshold"),
        (4, 8),
        (1.0, 0.5),
        settings={"threshold": {"threshold": [0.9, 0.6]}},
        top_p=0.9,
    )
    found = sweep.ways(Decoding())
    assert len(found) == 4 + 2 + 8
    assert found["random, 4 steps, temperature 0.5"] == Decoding("random", 4, temperature=0.5, top_p=0.9)
    assert found["first-hitting, temperature 1.0"].steps is None
    last = found["threshold, 8 steps, temperature 0.5, threshold 0.6"]
    assert last.settings == {"threshold": 0.6} and last.steps == 8
    own = Decoding("confidence", 5)
    assert Sweep().ways(own) == {"as saved": own}
    assert Sweep(steps=(3,)).ways(own)["as saved, 3 steps"] == Decoding("confidence", 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samplers": ("randm",)}, "Did you mean"),
        ({"samplers": ("random",), "settings": {"threshold": {}}}, "add it to --samplers"),
        ({"samplers": ("random",), "settings": {"random": 3}}, "in braces"),
        ({"samplers": ("threshold",), "settings": {"threshold": {"treshold": 1}}}, "Did you mean threshold"),
        ({"samplers": ("random",), "steps": (0,)}, "at least 1 step"),
    ],
)
def test_a_wrong_sweep_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises((SettingsError, UnknownNameError), match=said):
        Sweep(**options)


def test_human_texts_have_equal_room() -> None:
    found = held_out(["ab", "abab=ab", "bbbbb", "aaaaaaa"], LM.format, given=1, length=4, most=2)
    assert found.short == 1 and found.documents == ["abab=ab", "bbbbb"]
    assert found.texts.given == [[BEGIN, A], [BEGIN, B]] and found.texts.written == [[B, A, B, IS], [B] * 4]
    assert found.texts.prompts == ["a", "b"] and found.texts.texts == ["bab=", "bbbb"]
    first, rest = found.parted(1)
    assert first.texts == ["bab="] and rest.texts == ["bbbb"]
    with pytest.raises(DataError, match="none of 1 documents has 9 tokens"):
        held_out(["ab"], LM.format, given=0, length=9, most=1)
