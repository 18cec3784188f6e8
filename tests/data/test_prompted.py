"""Prompts with their answers, and texts that have none."""

import json
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.data.conversations import turns_of
from textdiffusion.data.prompted import Prompted, read_prompted
from textdiffusion.errors import DataError

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye."},
]


def write(path: Path, rows: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "1+1=2", "prompt": "1+1=", "answer": "2"},
        {"question": "1+1=", "answer": "2"},
        {"user_prompt": "1+1=", "model_response": "2", "id": 3},
        {"instruction": "1+1=", "output": "2"},
    ],
)
def test_pairs_are_known_by_their_fields(tmp_path: Path, row: dict[str, Any]) -> None:
    lines = write(tmp_path / "a.jsonl", [row, row])
    assert list(read_prompted(lines, split="test")) == [Prompted("1+1=", "2")] * 2
    (tmp_path / "b.json").write_text(json.dumps([row]), encoding="utf-8")
    assert list(read_prompted(str(tmp_path / "b.json"), split="test")) == [Prompted("1+1=", "2")]


def test_a_conversation_gives_each_of_its_answers(tmp_path: Path) -> None:
    more = [*CHAT, {"role": "assistant", "content": "Bye!"}]
    path = write(tmp_path / "chat.jsonl", [{"messages": more}, {"messages": CHAT[:2]}])
    turns = turns_of(more, "here")
    assert list(read_prompted(path, split="train")) == [
        Prompted("Hello?", "Hello!", turns[:2]),
        Prompted("Bye.", "Bye!", turns[:4]),
    ]
    broken = write(tmp_path / "broken.jsonl", [{"messages": CHAT}, {"messages": [{"role": "user"}]}])
    with pytest.raises(DataError, match="line 2, message 1"):
        list(read_prompted(broken, split="train"))


def test_other_texts_have_no_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.jsonl", [{"text": "one"}, {"text": "two"}])
    assert list(read_prompted(path, split="train")) == [Prompted(None, "one"), Prompted(None, "two")]
    (tmp_path / "plain.txt").write_text("just text", encoding="utf-8")
    assert list(read_prompted(str(tmp_path / "plain.txt"), split="train")) == [Prompted(None, "just text")]


def test_a_folder_is_read_by_split(tmp_path: Path) -> None:
    for split, answer in (("train", "a"), ("test", "b")):
        write(tmp_path / f"{split}.jsonl", [{"prompt": "?", "answer": answer}])
    for split, answer in (("train", "a"), ("test", "b")):
        assert list(read_prompted(str(tmp_path), split=split)) == [Prompted("?", answer)]
    with pytest.raises(DataError, match="no split 'validation'"):
        list(read_prompted(str(tmp_path), split="validation"))


def test_rows_are_alike_or_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"prompt": "?", "answer": "!"}, {"prompt": "?", "answer": None}])
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: no prompt with an answer"):
        list(read_prompted(path, split="train"))
