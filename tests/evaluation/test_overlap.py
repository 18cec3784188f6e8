"""Texts that stand in the training text: word for word, nearly, and not."""

import random
from collections.abc import Iterator

import pytest

from textdiffusion.evaluation.overlap import find_overlap

WORDS = [
    "fox",
    "bear",
    "wood",
    "night",
    "river",
    "stone",
    "bird",
    "song",
    "house",
    "king",
    "road",
    "tree",
    "snow",
    "fire",
    "moon",
    "child",
]


def story(seed: int, words: int = 60) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def said(words: list[str]) -> str:
    return " ".join(words) + "."


def test_the_same_words_are_found_whatever_their_case_and_stops() -> None:
    texts = [said(story(1)), said(story(2)), said(story(3))]
    training = [said(story(9)), " ".join(story(2)).upper().replace(" ", ",\n"), texts[0]]
    found = find_overlap(texts, training)
    assert (found.exact, found.near, found.searched, found.texts) == ({0, 1}, frozenset(), 3, 3)
    assert found.count == 2
    assert find_overlap(texts, training, limit=1).count == 0


@pytest.mark.parametrize(("changed", "near"), [(1, True), (2, True), (6, False), (30, False)])
def test_texts_with_some_words_changed(changed: int, near: bool) -> None:
    """A word changed spoils eight pieces of 53."""
    words = story(1)
    other = list(words)
    for place in range(4, 60, 60 // changed)[:changed] if changed < 30 else range(0, 60, 2):
        other[place] = "else"
    found = find_overlap([said(words)], [said(other)])
    assert found.near == ({0} if near else set())
    assert not found.exact


def test_a_part_of_a_long_document_is_found_and_scattered_pieces_are_not() -> None:
    text = story(1)
    whole = said(story(5, 500) + text + story(6, 500))
    assert find_overlap([said(text)], [whole]).near == {0}
    parts = [said(text[start : start + 12] + story(start, 50)) for start in range(0, 60, 12)]
    assert find_overlap([said(text)], parts).count == 0, "no document holds half of it"


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    poem = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
    inside = "李白：" + poem.replace("，", "\n") + "静夜思是一首诗。"
    found = find_overlap([poem, "床前没有月光，地上也没有霜，今夜我不想家。"], [inside])
    assert (found.near, found.exact) == ({0}, frozenset())


def test_short_and_empty_texts() -> None:
    found = find_overlap(["The end", "", "One fish"], ["the end!", "One fish, two fish"])
    assert (found.exact, found.near) == ({0}, frozenset())
    assert find_overlap([], ["x"]).count == 0


def test_training_text_is_read_once_and_not_kept() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield said(story(number))

    assert find_overlap([said(story(40))], endless(), limit=50).exact == {0}
