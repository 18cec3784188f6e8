"""Rows with messages: which are conversations, which answers they hold, and what is left out."""

from pathlib import Path
from typing import Any

import pytest
from talk import SAID, TURNS, write_rows

from textdiffusion.data.conversations import Conversations, Message, answers_of, shortened, turns_of
from textdiffusion.data.formats import Repeats
from textdiffusion.errors import DataError


def test_every_turn_is_read_and_other_words_for_roles_are_known(tmp_path: Path) -> None:
    other = [{"role": "human", "content": "a"}, {"role": "gpt", "content": "b", "name": "x"}]
    path = write_rows(tmp_path / "a.jsonl", [{"messages": SAID, "id": 1}, {"messages": other}])
    expected = [TURNS, (Message("user", "a"), Message("assistant", "b"))]
    conversations = Conversations(str(path), "train")
    assert list(conversations) == list(conversations) == expected
    assert list(conversations.texts())[1] == "a\nb"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (None, "line 1: messages is no list"),
        ([], "no list"),
        ("Hello", "no list"),
        ([{"role": "user", "content": "a"}, "b"], "message 2 is str"),
        ([{"content": "a"}], "message 1 has the role None"),
        ([{"role": "assitant", "content": "a"}], "Did you mean assistant"),
        ([{"role": "tool", "content": "a"}], "must be one of system, user"),
        ([{"role": "user", "content": None}], "holds NoneType, not text"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(tmp_path: Path, messages: Any, said: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"messages": messages}])
    with pytest.raises(DataError, match=said):
        list(Conversations(str(path), "train"))


def test_answers_are_those_that_say_something() -> None:
    assert list(answers_of(TURNS)) == [TURNS[:3], TURNS[:5]]
    assert not list(answers_of((Message("user", "a"), Message("assistant", " \n"), Message("user", "b"))))


def test_the_oldest_turns_go_first_and_the_system_stays() -> None:
    assert list(shortened(TURNS[:5])) == [TURNS[:5], (TURNS[0], *TURNS[3:5])]
    assert list(shortened(TURNS)) == [TURNS, (TURNS[0], *TURNS[3:]), (TURNS[0], TURNS[5])]
    assert list(shortened(TURNS[1:3])) == [TURNS[1:3]]


def test_rows_are_chosen_by_a_column(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": licence}], "license": licence}
        for licence in ("MIT", "CC BY-NC 4.0", "BSD", "MIT")
    ]
    path = str(write_rows(tmp_path / "a.jsonl", rows))
    repeats = Repeats("license", {"MIT": 2.0, "BSD": 0.5}, others=0.0)
    read = [turns[0].content for turns in Conversations(path, "train", repeats)]
    assert read == ["MIT"] * 4, "half a row of one is none yet"
    once = [turns[0].content for turns in Conversations(path, "train", repeats.once())]
    assert once == ["MIT", "BSD", "MIT"]
    with pytest.raises(DataError, match="no conversation to read"):
        list(Conversations(path, "train", Repeats("license", {}, others=0.0)))


def test_a_conversation_given_in_python_is_checked_alike() -> None:
    assert turns_of(SAID, "here") == TURNS
