"""The studies of length, on a language in which every number can be worked out by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lengths.known import BEGIN, END, IS, LENGTH, MASK, PAD, VOCAB, A, B, Known, known_model, small_model

from textdiffusion.data.prompted import Prompted
from textdiffusion.errors import DataError
from textdiffusion.evaluation.intervals import column, measured, ratio
from textdiffusion.evaluation.length import STUDIES, Example, Subject, examples_of
from textdiffusion.evaluation.length.rooms import QUANTILES
from textdiffusion.generation import Decoding

SURE = Decoding(sampler="confidence", temperature=0.0)
COUNTS = (1, 2, 4, 4, 6)


def example(n: int, seed: int = 0) -> Example:
    return Example((BEGIN, *[A] * n, IS), (B,) * n, seed)


def subject(known: Known | None = None, **changes: Any) -> Subject:
    examples = [example(n, number) for number, n in enumerate(COUNTS)]
    lm = known_model(Known(0.95) if known is None else known)
    return Subject(lm, examples, [2, 3, 3, 8], SURE, **{"batch": 2, **changes})


def study(name: str, of: Subject) -> list[dict[str, Any]]:
    found = list(STUDIES[name](of))
    assert all(row["study"] == name for row in found)
    return found


# -- texts -----------------------------------------------------------------------------------------------


def test_prompts_are_taken_from_the_data_or_from_the_text() -> None:
    lm = small_model()
    texts = [Prompted("aa=", "bb"), Prompted(None, "aaa=bbb"), Prompted(None, "a"), Prompted(None, "a" * 40)]
    found, left_out = examples_of(texts, lm, given=2, limit=None, seed=3)
    assert {(e.given, e.rest) for e in found} == {
        ((BEGIN, A, A, IS), (B, B)),
        ((BEGIN, A, A), (A, IS, B, B, B)),
    }
    assert left_out == 2
    assert sorted(e.seed for e in found) == [3, 4]
    assert all(e.needs == len(e.rest) + 1 for e in found)
    assert len(examples_of(texts * 9, lm, given=2, limit=5, seed=0)[0]) == 5
    with pytest.raises(DataError, match="none of 1 texts"):
        examples_of([Prompted(None, "a")], lm, given=2, limit=None, seed=0)


def test_a_text_fits_if_its_end_does() -> None:
    lm = small_model()
    full = Prompted("=", "b" * (LENGTH - 3))
    assert len(examples_of([full], lm, given=1, limit=None, seed=0)[0]) == 1
    with pytest.raises(DataError):
        examples_of([replace(full, answer=full.answer + "b")], lm, given=1, limit=None, seed=0)


# -- standard errors -------------------------------------------------------------------------------------


def test_errors_are_those_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=300)
    found = measured([[v] for v in values], {"mean": column(0)}, seed=1)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["mean_error"] == pytest.approx(values.std() / math.sqrt(300), rel=0.15)
    assert measured([[2.0]], {"mean": column(0)}, seed=1) == {"mean": 2.0, "mean_error": None}
    assert ratio(np.array([1.0, 3.0]), np.array([0.0, 2.0])).tolist() == [0.0, 1.5]


# -- studies ---------------------------------------------------------------------------------------------


def test_the_end_behind_the_whole_text() -> None:
    other = 0.05 / (VOCAB - 2)
    (row,) = study("end", subject())
    assert row["texts"] == 5
    assert row["end_probability"] == pytest.approx(0.95, abs=1e-5)
    assert row["ended_probability"] == pytest.approx(0.95 + other, abs=1e-5)
    assert (row["top1"], row["mrr"], row["top1_error"]) == (1.0, 1.0, 0.0)


def test_a_model_that_prefers_another_token_is_seen() -> None:
    """It puts the filler first, and the end among the six that share the rest."""

    class Early(Known):
        def __call__(self, xt, t, **options):  # type: ignore[no-untyped-def]
            return super().__call__(torch.where(xt == A, B, xt), t, **options)  # as if n were 0

    (row,) = study("end", subject(Early(0.95)))
    assert row["top1"] == 0.0
    assert row["mrr"] == pytest.approx(0.5), "the filler alone is more probable; equals do not count"
    assert row["end_probability"] == pytest.approx(0.05 / (VOCAB - 2), abs=1e-6)


def test_quarters_by_hand() -> None:
    """Where the whole prompt is given all is right; where less is, the text ends too early."""
    rows = study("quarters", subject(Known(0.999)))
    assert [row["quarter"] for row in rows] == [1, 2, 3, 4]
    assert all(row["recall"] == 1.0 for row in rows)
    assert rows[0]["precision"] < 1.0 and rows[0]["length_difference"] < 0.0
    assert rows[0]["f1"] == pytest.approx(2.0 / (1.0 + 1.0 / rows[0]["precision"]))
    last = rows[-1]
    assert (last["precision"], last["recall"], last["f1"]) == (1.0, 1.0, 1.0)
    assert last["length_difference"] == last["absolute_length_difference"] == 0.0


def test_a_model_without_an_end_finds_none() -> None:
    class Endless(Known):
        def __call__(self, xt, t, *, where=None, **options):  # type: ignore[no-untyped-def]
            logits = torch.zeros(*xt.shape, VOCAB)
            logits[..., B] = 20.0
            return logits if where is None else logits[where]

    (*_, last) = study("quarters", subject(Endless()))
    assert (last["precision"], last["recall"], last["f1"]) == (0.0, 0.0, 0.0)
    assert last["length_difference"] > 10.0


def test_rooms_by_hand() -> None:
    rows = study("rooms", subject())
    needs = [n + 1 for n in COUNTS]
    whole = [LENGTH - n - 2 for n in COUNTS]
    by_reader = {(row["reader"], row["quantile"]): row for row in rows}
    for quantile in (0.25, 0.5, 0.75, 0.9):
        found = by_reader["end", quantile]
        assert (found["valid"], found["excess"], found["deficit"], found["rmse"]) == (1.0, 0.0, 0.0, 0.0)
        assert found["saved"] == pytest.approx(np.mean([w - n for w, n in zip(whole, needs, strict=True)]))
    unsure = by_reader["end", 0.99]
    assert (unsure["valid"], unsure["saved"]) == (1.0, 0.0)
    for reader, quantile, value in [
        ("constant mean", None, 4),
        ("constant max", None, 8),
        ("constant quantile", 0.25, 2),
        ("constant quantile", 0.5, 3),
        ("constant quantile", 0.75, 3),
        ("constant quantile", 0.9, 8),
    ]:
        found, off = by_reader[reader, quantile], np.array([value - n for n in needs])
        assert found["valid"] == np.mean(off >= 0)
        assert found["excess"] == pytest.approx(np.maximum(off, 0).mean())
        assert found["deficit"] == pytest.approx(np.maximum(-off, 0).mean())
        assert found["rmse"] == pytest.approx(math.sqrt((off**2).mean()))
        assert found["saved"] == pytest.approx(np.mean([w - value for w in whole])), "over all prompts"
        assert found["texts"] == 5
    assert len(rows) == len(QUANTILES) + 2 + len(QUANTILES)


def test_a_constant_is_never_more_than_the_room() -> None:
    of = replace(subject(), training=[500])
    found = {row["reader"]: row for row in study("rooms", of)}
    assert (found["constant max"]["saved"], found["constant max"]["valid"]) == (0.0, 1.0)


def test_a_fitted_head_is_studied_beside_the_vocabulary() -> None:
    from textdiffusion.lengths.heads import LENGTH_HEADS

    lm = small_model()
    lm.length_head = LENGTH_HEADS["linear"](48)
    readers = {row["reader"] for row in study("rooms", replace(subject(), lm=lm))}
    assert {"head", "end"} < readers


def test_what_is_shown_of_the_answer_is_what_is_told() -> None:
    seen: list[Any] = []
    rows = study("unmasked", subject(Known(0.95, seen=seen)))
    assert [row["unmasked"] for row in rows] == [tenth / 10 for tenth in range(10)]
    assert all(row["accuracy"] == 1.0 and row["mean_absolute_error"] == 0.0 for row in rows)
    shown = [int((xt == B).sum()) for xt, _ in seen]
    per_share = [sum(shown[i : i + 3]) for i in range(0, len(shown), 3)]
    assert per_share == [sum(round(share / 10 * n) for n in COUNTS) for share in range(10)]
    for xt, _ in seen:
        assert not bool(((xt == END) | (xt == PAD))[:, :8].any()), "the end is never shown"


def test_an_end_that_comes_to_light_late() -> None:
    """It stands where it should as soon as two letters b are shown; before, at the first place."""

    class Late(Known):
        def __call__(self, xt, t, **options):  # type: ignore[no-untyped-def]
            unsure = ((xt == B).sum(1, keepdim=True) < 2) & (xt == A)
            return super().__call__(torch.where(unsure, B, xt), t, **options)

    rows = study("unmasked", replace(subject(), lm=known_model(Late(0.95)), examples=[example(4)] * 3))
    assert [row["accuracy"] for row in rows] == [float(round(share / 10 * 4) >= 2) for share in range(10)]
    assert rows[0]["mean_absolute_error"] == 4.0


def test_until_the_end() -> None:
    """Known at the first look: the noise and the first step agree."""
    (row,) = study("until-end", subject())
    assert (row["settled"], row["right"], row["kept"], row["steps"]) == (1.0, 1.0, 1.0, 1.0)
    steps = [LENGTH - n - 2 for n in COUNTS]
    assert row["texts"] == 5 and row["threshold"] == 0.9
    assert 1.0 / max(steps) <= row["share_of_steps"] <= 1.0 / min(steps)
    (never,) = study("until-end", subject(Known(0.6)))
    assert never["steps"] > 3.0, "it is not sure enough until the end is written"


def test_what_is_saved() -> None:
    (row,) = study("saving", subject(Known(0.999)))
    assert (row["exact_auto"], row["exact_full"], row["equal"]) == (1.0, 1.0, 1.0)
    full = [(LENGTH - n - 2) * LENGTH for n in COUNTS]
    auto = [LENGTH + (n + 1) * (2 * n + 3) for n in COUNTS]
    assert row["read_full"] == pytest.approx(np.mean(full))
    assert row["read_auto"] == pytest.approx(np.mean(auto))
    assert row["calls_auto"] < row["calls_full"]
    assert 0.0 < row["seconds_ratio_low"] <= row["seconds_ratio"] <= row["seconds_ratio_high"]


def test_nothing_is_saved_where_nothing_is_read() -> None:
    lm = small_model(after_end="")
    (row,) = study("saving", replace(subject(), lm=lm))
    assert row["texts"] == 0 and "after_end" in row["refused"]


@pytest.mark.parametrize("name", list(STUDIES))
def test_the_batch_changes_nothing(name: str) -> None:
    rows = [study(name, subject(Known(0.9), batch=size)) for size in (1, 5)]
    for one, other in zip(*rows, strict=True):
        for key in set(one) - {key for key in one if "seconds" in key or "calls" in key}:
            assert (
                one[key] == pytest.approx(other[key])
                if isinstance(one[key], float)
                else one[key] == other[key]
            )


def test_masks_are_never_told() -> None:
    assert MASK not in {token for n in COUNTS for token in example(n).given + example(n).rest}
