"""Damaged texts: what is damaged, what a revision is counted for, and that a model that knows gains."""

import re

import numpy as np
import pytest
import torch
from cli.conftest import SENTENCES, SPECIAL, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertTokenizer

import textdiffusion as td
from textdiffusion.errors import DataError
from textdiffusion.evaluation.revision import DAMAGES, Vocabulary, restored, revise_damaged
from textdiffusion.evaluation.revision.damages import beside, mistyped
from textdiffusion.evaluation.revision.units import Count, Unit, units_of
from textdiffusion.tokens import TextFormat

TEXTS = [" ".join(SENTENCES), "Paris is a little fox. All night the fox slept in France, and read at day."]


@pytest.fixture(scope="module")
def spaced() -> TextFormat:
    """Tokens carry the space before them."""
    return TextFormat.of(make_tokenizer(SPECIAL))


@pytest.fixture(scope="module")
def spaceless(tmp_path_factory: pytest.TempPathFactory) -> TextFormat:
    """Tokens know no spaces, nor capital letters."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "read", "all", "day", ",", "."]
    letters = "abcdefghijklmnopqrstuvwxyz"
    file = tmp_path_factory.mktemp("words") / "vocab.txt"
    file.write_text("\n".join([*words, *letters, *(f"##{each}" for each in letters)]), encoding="utf-8")
    return TextFormat.of(BertTokenizer(str(file)))


def vocabulary(text_format: TextFormat) -> Vocabulary:
    size = len(text_format.tokenizer)
    return Vocabulary(text_format, [id for id in range(size) if id not in text_format.special_ids])


def damaged(kind: str, text: str, share: float, text_format: TextFormat, seed: int = 0) -> list[Unit]:
    return DAMAGES[kind](text, share, np.random.default_rng(seed), vocabulary(text_format))


# -- units -----------------------------------------------------------------------------------------------


def test_a_unit_counts_place_by_place() -> None:
    unit = Unit((1, 2, 3, 4), (1, 9, 9, 4))
    decode = str
    assert unit.count((1, 2, 9, 4), decode) == Count(4, 2, 1, 0)
    assert unit.count((1, 2, 3, 4), decode) == Count(4, 2, 2, 0)
    assert unit.count((7, 9, 3, 7), decode) == Count(4, 2, 1, 2)
    assert unit.count((1, 9, 9, 4), decode) == Count(4, 2, 0, 0)


def test_a_unit_of_other_length_is_restored_as_a_whole() -> None:
    unit = Unit((1, 2), (5, 6, 7))
    assert unit.count((5, 6, 7), str) == Count(2, 2, 0, 0)
    assert unit.count((1, 2, 2), lambda ids: "ab" if list(ids)[:2] == [1, 2] else "") == Count(2, 2, 2, 0)


@pytest.mark.parametrize("kind", ["spaced", "spaceless"])
def test_units_end_where_words_do(kind: str, request: pytest.FixtureRequest) -> None:
    text_format = request.getfixturevalue(kind)
    pieces = [("the ", "the "), ("fox", "fxo"), (" read all", " read all"), (" day", " dya"), (".", ".")]
    units = units_of(pieces, text_format)
    said = [tuple(text_format.decode(side).strip() for side in (unit.right, unit.found)) for unit in units]
    assert ("fox", "fxo") in [tuple(re.sub(" ", "", word) for word in pair) for pair in said]
    assert ("day", "dya") in [tuple(re.sub(" ", "", word) for word in pair) for pair in said]
    head = int(text_format.begin_id is not None)
    right, found = ("".join(side) for side in zip(*pieces, strict=True))
    assert [id for unit in units for id in unit.right] == text_format.prompt(right)[head:]
    assert [id for unit in units for id in unit.found] == text_format.prompt(found)[head:]


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.text("ab \n,", max_size=4), st.text("ab \n,", max_size=4)), min_size=1, max_size=6
    ),
    spaces=st.booleans(),
)
def test_units_hold_both_texts_whole(
    pieces: list[tuple[str, str]], spaces: bool, spaced: TextFormat, spaceless: TextFormat
) -> None:
    text_format = spaced if spaces else spaceless
    units, head = units_of(pieces, text_format), int(text_format.begin_id is not None)
    right, found = ("".join(side) for side in zip(*pieces, strict=True))
    assert [id for unit in units for id in unit.right] == text_format.prompt(right)[head:]
    assert [id for unit in units for id in unit.found] == text_format.prompt(found)[head:]


# -- damages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_is_kept(damage: str, share: float, spaced: TextFormat) -> None:
    for seed, text in enumerate(TEXTS):
        units = damaged(damage, text, share, spaced, seed)
        words = len(re.findall(r"\w+", text))
        wrong = [unit for unit in units if unit.right != unit.found]
        if damage == "random-tokens":
            assert len(wrong) == round(share * len(units))
        elif damage == "typing-errors":
            longer = len(re.findall(r"\w{2,}", text))
            assert len(wrong) == round(share * longer)
        else:
            assert 2 * len(wrong) <= share * words + 0.5
            assert 2 * len(wrong) >= 0.5 * share * words - 1.0 or share == 0.0
        assert units == damaged(damage, text, share, spaced, seed)
        assert share in (0.0, 1.0) or units != damaged(damage, text, share, spaced, seed + 100)


def test_swapped_words_are_the_same_words(spaced: TextFormat) -> None:
    units = damaged("swapped-words", TEXTS[1], 0.5, spaced)
    found = spaced.decode([id for unit in units for id in unit.found])
    assert found != TEXTS[1]
    assert sorted(re.findall(r"\w+", found)) == sorted(re.findall(r"\w+", TEXTS[1]))
    assert re.sub(r"\w+", "w", found) == re.sub(r"\w+", "w", TEXTS[1])


@settings(max_examples=200, deadline=None)
@given(word=st.text("abcdefghxyzABCZé漢", min_size=2, max_size=8), seed=st.integers(0, 2**31))
def test_a_typing_error_is_one_step_away(word: str, seed: int) -> None:
    wrong = mistyped(word, np.random.default_rng(seed))
    assert wrong != word
    assert abs(len(wrong) - len(word)) <= 1
    if len(wrong) == len(word):
        places = [place for place, (a, b) in enumerate(zip(word, wrong, strict=True)) if a != b]
        one_key = len(places) == 1 and wrong[places[0]] in beside(word[places[0]])
        exchanged = len(places) == 2 and sorted(wrong) == sorted(word) and places[1] - places[0] == 1
        assert one_key or exchanged


def test_keys_are_beside_each_other_both_ways() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert set(beside("g")) == set("fhtyvb")
    assert set(beside("q")) == set("wa")
    assert beside("A") == beside("a").upper()
    assert beside("é") == beside("漢") == ""
    for one in letters:
        for other in beside(one):
            assert one in beside(other), (one, other)


# -- revising --------------------------------------------------------------------------------------------


def lm_that_knows(folder: str, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> td.DiffusionLM:
    """A model that recognises each text by its length, and says it whatever stands there."""
    lm = td.load(folder, device="cpu")
    known = {len(ids): ids for ids in lm.format.document(texts)}
    assert len(known) == len(texts)

    def knowing(self: object, xt: Tensor, t: Tensor, *, where: Tensor, **told: object) -> Tensor:
        truth = torch.tensor(known.get(xt.shape[1], [5] * xt.shape[1]))
        return torch.nn.functional.one_hot(truth.expand(xt.shape), lm.vocab_size).float()[where] * 20.0

    monkeypatch.setattr(type(lm.denoiser), "__call__", knowing)
    return lm


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_model_that_knows_restores_all(folder: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = SENTENCES
    lm = lm_that_knows(folder, texts, monkeypatch)
    tried = revise_damaged(lm, texts, "random-tokens", share, noise_rate=share, looks=4, seed=0, options={})
    row = restored(tried, 0)
    assert row["restored"] == 1.0 and row["broken"] == 0.0 and row["right_changes"] == 1.0
    assert row["gained"] == row["changed"] == pytest.approx(row["damaged"])
    assert row["damaged"] == pytest.approx(share, abs=0.03)
    assert row["tokens"] == sum(len(ids) - 2 for ids in lm.format.document(texts))


def test_a_model_that_knows_another_text_spoils(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = lm_that_knows(folder, ["x"], monkeypatch)  # for any other length it says one token again and again
    tried = revise_damaged(lm, SENTENCES, "random-tokens", 0.0, noise_rate=0.5, looks=4, seed=0, options={})
    row = restored(tried, 0)
    assert row["broken"] == pytest.approx(1.0, abs=0.05)
    assert row["gained"] == pytest.approx(-row["broken"])
    assert (row["damaged"], row["restored"], row["restored_error"]) == (0.0, None, None)


def test_nothing_to_damage(folder: str) -> None:
    lm = td.load(folder, device="cpu")
    with pytest.raises(DataError, match="can be damaged by swapped-words"):
        revise_damaged(lm, ["fox", "..."], "swapped-words", 1.0, noise_rate=0.2, looks=2, seed=0, options={})
