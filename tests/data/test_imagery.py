"""Terms of imagery: words found by counting, ranked by how much they are a poem's own."""

import json
import math
from pathlib import Path

import pytest

from textdiffusion.data.imagery import Terms, terms_of
from textdiffusion.errors import SettingsError

LOOSE = Terms(least=1, documents=2, information=1.0)
POEMS = [
    "月光。月光。小河，青草。",
    "月光，白云。小河。",
    "白云，青草。蝴蝶。",
    "蝴蝶，明天。",
    "我的，轻轻，ab月，草",
    "我的，轻轻，明天。",
]


def test_ranked_by_what_is_their_own() -> None:
    """By tf-idf: a word said twice before one said once, and then by the alphabet of their code points."""
    assert list(terms_of(POEMS, LOOSE)) == [
        ("月光", "小河", "青草"),
        ("小河", "月光", "白云"),
        ("白云", "蝴蝶", "青草"),
        ("明天", "蝴蝶"),
        (),
        ("明天",),
    ]
    assert list(terms_of(POEMS, Terms(least=3, most=3, documents=2, information=1.0)))[3:] == [(), (), ()]
    assert next(terms_of(POEMS, Terms(least=1, most=1, documents=2, information=1.0))) == ("月光",)


def test_a_word_is_more_than_chance() -> None:
    """Of n pairs 月光 is 3, and both characters stand nowhere else: log(3n / 9) nats."""
    pairs = sum(
        len(run) - 1
        for text in POEMS
        for run in text.replace("，", "。").split("。")
        if run and "b" not in run
    )
    limit = math.log(pairs * 3 / 9)
    kept = list(terms_of(POEMS, Terms(least=1, documents=2, information=limit - 1e-9)))
    gone = list(terms_of(POEMS, Terms(least=1, documents=2, information=limit + 1e-9)))
    assert "月光" in kept[0] and "月光" not in gone[0]


def test_parts_of_one_word_count_once() -> None:
    texts = ["向日葵开", "向日葵落", "日葵"]
    assert next(terms_of(texts, Terms(least=1, documents=2, information=0.1))) == ("日葵",)


def test_bad_settings() -> None:
    with pytest.raises(SettingsError, match="give 1 <= least <= most"):
        Terms(least=6)
    with pytest.raises(SettingsError, match="documents is 0"):
        Terms(documents=0)


def test_real_poems(shared_data: Path) -> None:
    lines = (shared_data / "modern_poems" / "test.jsonl").read_text("utf-8").split("\n")
    texts = [json.loads(line)["content"] for line in lines if line]
    found = list(terms_of(texts))
    some = [terms for terms in found if terms]
    assert len(some) > 0.6 * len(texts) and found == list(terms_of(texts))
    for text, terms in zip(texts, found, strict=True):
        assert not terms or 3 <= len(terms) <= 5
        assert all(term in text for term in terms)
        assert len({char for term in terms for char in term}) == 2 * len(terms)
