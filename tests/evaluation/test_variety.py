"""Distinct n-grams, repetition and entropy, by hand and by what must hold of any text."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.evaluation.variety import distinct_n, repetition, self_bleu, token_entropy

texts = st.lists(st.integers(0, 4), max_size=12)


def test_distinct_by_hand() -> None:
    words = ["the", "fox", "and", "the", "fox", "ran"]
    assert distinct_n([words], 1) == 4 / 6
    assert distinct_n([words], 2) == 4 / 5  # "the fox" twice
    assert distinct_n([words, words], 1) == 4 / 12
    assert distinct_n([["a", "b"], ["b", "a"]], 2) == 1.0  # no pair across two texts: "b b" is none
    assert distinct_n(iter([[1, 1], [1, 1]]), 2) == 0.5


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nothing_repeats_nothing(n: int) -> None:
    assert distinct_n([[]], n) == distinct_n([], n) == 1.0
    assert distinct_n([[7]], n) == 1.0
    assert repetition([], n) == 0.0


def test_repetition_by_hand() -> None:
    assert repetition([1, 2, 3, 1, 2, 3]) == 0.25  # 123 231 312 123
    assert repetition([5] * 10) == pytest.approx(7 / 8)
    assert repetition([1, 2, 1], 1) == pytest.approx(1 / 3)


def test_entropy_by_hand() -> None:
    assert token_entropy([1, 2, 3, 4]) == pytest.approx(math.log(4))
    assert token_entropy([1, 1, 1, 2]) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert token_entropy("aaaa") == token_entropy([]) == 0.0


@given(texts, st.integers(1, 4))
def test_of_any_text(text: list[int], n: int) -> None:
    count = max(0, len(text) - n + 1)
    assert 0.0 <= repetition(text, n) < 1.0
    assert distinct_n([text], n) + repetition(text, n) == pytest.approx(1.0)
    if count:
        assert distinct_n([text], n) >= 1 / count
        assert distinct_n([text, text], n) == pytest.approx(distinct_n([text], n) / 2)
    assert 0.0 <= token_entropy(text) <= math.log(max(1, len(Counter(text)))) + 1e-12
    assert token_entropy(text) == pytest.approx(token_entropy(text[::-1] * 3))


def test_self_bleu_by_hand() -> None:
    assert self_bleu([[1, 2, 3, 4, 5]] * 2) == pytest.approx([1.0, 1.0])
    assert self_bleu([[1, 2, 3], [4, 5, 6]]) == [0.0, 0.0]
    # Of the first, 3 of 4 tokens, 2 of 3 pairs, 1 of 2 triples and, as none, half of one four stand there.
    assert self_bleu([[1, 2, 3, 9], [1, 2, 3, 8]])[0] == pytest.approx(
        (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    )
    short, _ = self_bleu([[1, 2], [1, 2, 3, 4]])
    assert short == pytest.approx(math.exp(1 - 4 / 2))  # all of it stands there, but it is half as long
    assert self_bleu([[7, 7]]) == self_bleu([[]]) == [0.0]


def test_self_bleu_clips_by_one_other_text_alone() -> None:
    """Two others with one 5 each do not excuse two 5s in one."""
    assert self_bleu([[5, 5], [5, 1], [5, 2]], 1)[0] == pytest.approx(1 / 2)
    assert self_bleu([[5, 5], [5, 5], [5, 2]], 1)[0] == pytest.approx(1.0)


@given(st.lists(texts, min_size=2, max_size=5))
def test_self_bleu_is_that_of_sacrebleu(many: list[list[int]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    if any(len(text) == 0 for text in many):
        return  # it has no empty sentences
    lines = [" ".join(map(str, text)) for text in many]
    for row, found in enumerate(self_bleu(many)):
        others = [line for number, line in enumerate(lines) if number != row]
        bleu = sacrebleu.sentence_bleu(lines[row], others, tokenize="none", use_effective_order=True)
        assert found == pytest.approx(bleu.score / 100.0, abs=1e-9)
