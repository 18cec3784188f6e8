"""Documents as windows: every token once, given what stands before it, and the bytes that it says."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lengths.known import BEGIN, END, IS, LENGTH, MASK, A, B, small_model

from textdiffusion.data.prompted import Prompted
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import DataError, SettingsError
from textdiffusion.evaluation.documents import Windows, draw, read_corpus


def whole(texts: list[str]) -> list[Prompted]:
    return [Prompted(None, text) for text in texts]


@given(st.integers(1, 60), st.integers(2, 20), st.data())
def test_every_token_is_scored_once_given_what_stands_before_it(size: int, context: int, data: Any) -> None:
    stride = data.draw(st.integers(1, context - 1))
    scored = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    windows = Windows(context, stride).cut(range(size), scored)
    found = [
        token for window in windows for token, here in zip(window.ids, window.scored, strict=True) if here
    ]
    assert found == [token for token in range(size) if scored[token]]
    for window in windows:
        assert len(window.ids) <= context and any(window.scored)
        assert list(window.ids) == list(range(window.ids[0], window.ids[-1] + 1))
        if window.ids[0]:
            assert window.scored[: context - stride] == [False] * (context - stride)
    assert len({window.seed for window in windows}) == len(windows)


def test_a_document_that_fits_is_one_window() -> None:
    (window,) = Windows(8, 3).cut([1, 2, 3, 4, 5, 6, 7, 8], [False] + [True] * 7, seed=5)
    assert (list(window.ids), window.seed) == ([1, 2, 3, 4, 5, 6, 7, 8], 5)
    first, second = Windows(8, 3).cut(range(9), [True] * 9)
    assert list(first.ids) == list(range(8)) and list(second.ids) == [3, 4, 5, 6, 7, 8]
    assert second.scored == [False] * 5 + [True]


def test_the_context_is_the_models() -> None:
    lm = small_model()
    assert Windows.of(lm) == Windows(LENGTH, LENGTH // 2)
    assert Windows.of(lm, 8) == Windows(8, 4)
    for wrong, said in (
        ((LENGTH + 1, None), "holds"),
        ((1, None), "from 2"),
        ((8, 8), "stride 8"),
        ((8, 0), "stride 0"),
    ):
        with pytest.raises(SettingsError, match=said):
            Windows.of(lm, *wrong)


def test_the_begin_is_given_and_the_end_scored_where_it_was_learnt() -> None:
    lm = small_model()
    (document,) = read_corpus(whole(["aa=b"]), lm, Windows.of(lm), ends=True).documents
    (passage,) = document.passages
    assert list(passage.ids) == [BEGIN, A, A, IS, B, END]
    assert passage.scored == [False, True, True, True, True, True]
    assert (document.tokens, document.bytes) == (5, 4)
    (document,) = read_corpus(whole(["aa=b"]), lm, Windows.of(lm), ends=False).documents
    assert document.passages[0].scored == [False, True, True, True, True, False]
    assert list(document.passages[0].ids)[-1] == END, "it stands there all the same"
    assert (document.tokens, document.bytes) == (4, 4)


def test_empty_and_single_documents_are_counted() -> None:
    lm = small_model()
    corpus = read_corpus(whole(["", "a", "ab", "", "x"]), lm, Windows.of(lm), ends=False)
    assert (len(corpus.documents), corpus.empty, corpus.single) == (3, 2, 2)
    assert corpus.altered == 1, "x is unknown to the tokenizer"
    assert len(corpus.passages) == 3
    with pytest.raises(DataError, match="none of 2 documents"):
        read_corpus(whole(["", ""]), lm, Windows.of(lm), ends=False)


def test_what_cannot_be_asked_about_is_not_counted_as_bytes() -> None:
    """A network with a shift and no begin says nothing of the first token; a mask that is a word is none."""
    lm = small_model()
    lm.format = replace(lm.format, begin_id=None, mask_id=B)
    lm.denoiser = Shifted()
    (document,) = read_corpus(whole(["aab="]), lm, Windows(8, 4), ends=False).documents
    assert document.passages[0].scored == [False, True, False, True, False]
    assert (document.tokens, document.bytes) == (2, 2)
    assert MASK not in document.passages[0].ids


def test_answers_are_scored_given_their_prompts() -> None:
    lm = small_model()
    (document,) = read_corpus([Prompted("aa=", "bé")], lm, Windows.of(lm), ends=True).documents
    (passage,) = document.passages
    assert passage.scored == [False] * 4 + [True] * (len(passage.ids) - 4)
    assert list(passage.ids)[:5] == [BEGIN, A, A, IS, B] and passage.ids[-1] == END
    assert document.bytes == 3


def test_two_models_are_compared_on_what_both_can_read() -> None:
    lm = small_model()
    one = read_corpus(whole(["a", "b", "aa"]), lm, Windows.of(lm), ends=False)
    other = replace(one, documents=[one.documents[2], one.documents[0]])
    assert [document.number for document in one.common(other).documents] == [0, 2]


class Shifted(Denoiser):
    @property
    def shift(self) -> bool:
        return True

    def __call__(self, xt: Any, t: Any, **options: Any) -> Any:
        raise NotImplementedError


def test_bytes_are_those_of_utf8() -> None:
    lm = small_model()
    (document,) = read_corpus(whole(["aé="]), lm, Windows.of(lm), ends=False).documents
    assert document.bytes == 4


def test_the_seed_decides_what_is_drawn() -> None:
    assert sorted(draw(range(50), None, 1)) == list(range(50))
    assert draw(range(50), 7, 1) == draw(range(50), None, 1)[:7] != draw(range(50), 7, 2)
