"""Cleaning changes what it says and nothing else."""

import json
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.data.clean import (
    TEXT_CLEANERS,
    CleanedDocuments,
    detokenize_wikitext,
    nfc,
)
from textdiffusion.data.clean_poems import poem_lines, slash_lines
from textdiffusion.errors import UnknownNameError

WIKITEXT = [
    (" = = Early life = = ", "== Early life =="),
    (" = Ise @-@ class battleship = ", "= Ise-class battleship ="),
    (" a two @-@ part , 9 @,@ 500 miles ( 8 @.@ 1 km / h ) . ", "a two-part, 9,500 miles (8.1 km/h)."),
    (' as " Craig " in " Teddy \'s Story " of it ; ', 'as "Craig" in "Teddy\'s Story" of it;'),
    (" we were like , ' Yeah , we love this ! ' ", "we were like, 'Yeah, we love this!'"),
    (" the ships ' hulls and the crews ' berths ", "the ships' hulls and the crews' berths"),
    (" They don 't , they 've , O 'Neill , don ’ t ", "They don't, they've, O'Neill, don’t"),
    (" in 1990 – 91 – the year – at 10 : 30 : late ", "in 1990–91 – the year – at 10:30: late"),
    (" US $ 3 , about £ 5 or 5 % at 20 ° C or 5 ° N ", "US$3, about £5 or 5% at 20 °C or 5° N"),
    (" told [ the label ] ( No. # 1 ) why ? ", "told [the label] (No. #1) why?"),
    (' a lone " mark stays ', 'a lone " mark stays'),
    ("", ""),
]


@pytest.mark.parametrize(("tokens", "written"), WIKITEXT)
def test_wikitext(tokens: str, written: str) -> None:
    assert detokenize_wikitext(tokens) == written
    assert detokenize_wikitext(written) == written


def test_wikitext_of_a_real_article(shared_data: Path) -> None:
    lines = (shared_data / "wikitext2" / "test.raw.txt").read_text("utf-8").split("\n")
    first = detokenize_wikitext(lines[3])
    assert first.startswith(
        "Robert Boulter is an English film, television and theatre actor. He had a guest-"
    )
    assert 'In 2004 Boulter landed a role as "Craig" in the episode "Teddy\'s Story" of' in first
    cleaned = detokenize_wikitext("\n".join(lines))
    assert len(cleaned.split("\n")) == len(lines)
    assert not re.search(r"@[-,.]@| [,.;!?)](?: |$)|\( | (?:'s|'re|n't) ", cleaned)
    assert len(re.findall(r'(?<=\s)"(?=\s)', cleaned)) < 20
    for line in cleaned.split("\n"):
        assert detokenize_wikitext(line) == line or '"' in line or "'" in line


words = st.sampled_from(
    [*"\"'’.,;:()[]/%°$#–=", "@-@", "@,@", "@.@", "", "a", "s", "US", "C", "1", "'s", "word"]
)


@given(st.lists(st.lists(words, max_size=12).map(" ".join), max_size=3))
def test_wikitext_changes_spaces_and_marks_only(lines: list[str]) -> None:
    cleaned = detokenize_wikitext("\n".join(lines)).split("\n")
    assert [line.replace(" ", "") for line in cleaned] == [
        re.sub(r"(?:^|(?<= ))@([-,.])@(?= |$)", r"\1", line).replace(" ", "") for line in lines or [""]
    ]


def test_nfc() -> None:
    assert nfc("e\u0301") == "\u00e9"


def test_poem_lines() -> None:
    raw = "　　一\ue003行 \r\n\r\n二\ufffd行 https://a.cn/x?y=1。\n\n\n\n三\u200b行\x07\n\n"
    assert poem_lines(raw) == "一行\n二行 。\n三行"
    assert poem_lines("a\nb\n\n\nc\n") == "a\nb\n\nc"
    assert slash_lines("a\n\n b \nc") == "a/b/c"


@given(st.text("ab \u3000\n\ue000\u200b", max_size=30))
def test_poem_lines_keeps_what_can_be_seen(text: str) -> None:
    cleaned = poem_lines(text)
    assert [char for char in cleaned if char in "ab"] == [char for char in text if char in "ab"]
    assert "\n\n\n" not in cleaned and cleaned == cleaned.strip()


def test_real_poems(shared_data: Path) -> None:
    with (shared_data / "modern_poems" / "valid.jsonl").open(encoding="utf-8") as file:
        poems = [json.loads(line)["content"] for line in file]
    cleaned = [poem_lines(poem) for poem in poems]
    assert all("\n\n" in poem for poem in poems if "\n" in poem)
    assert not any("\n\n" in poem or re.search("[\ue000-\uf8ff]", poem) for poem in cleaned)
    assert all(poem_lines(poem) == poem for poem in cleaned)


def test_documents_are_cleaned_in_order_and_again() -> None:
    cleaners = ["wikitext", "nfc", "poem_lines", "slash-lines"]
    documents = CleanedDocuments(["e\u0301 @-@ b", "\ue003", "a\n\nb"], cleaners)
    assert list(documents) == list(documents) == ["\u00e9-b", "a/b"]
    assert list(islice(CleanedDocuments(iter("ab"), []), 1)) == ["a"]


def test_unknown_cleaner() -> None:
    with pytest.raises(UnknownNameError, match="wikitext"):
        CleanedDocuments([], ["wiki-text"])
    assert list(TEXT_CLEANERS) == sorted(TEXT_CLEANERS)
