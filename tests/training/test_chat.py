"""Training on conversations: which rows there are, what of them is learnt, and the model that comes of it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from talk import CHATML, SAID, TURNS, talker, write_rows

import textdiffusion as td
from textdiffusion.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from textdiffusion.errors import DataError, SettingsError
from textdiffusion.tokens import TextFormat
from textdiffusion.training.answer_rows import AnswerRows
from textdiffusion.training.collate import IGNORED, CanvasCollator
from textdiffusion.training.recipe import TrainingRecipe

from .conftest import Recipe

QUIET = Console(file=io.StringIO())


def test_each_answer_is_a_row_behind_what_was_said_before() -> None:
    text_format = TextFormat.of(talker(CHATML))
    rows = AnswerRows.build([TURNS, TURNS[3:]], text_format, 200, QUIET)
    template, expected = ChatTemplate(text_format.tokenizer), []
    for turns in (TURNS[:3], TURNS[:5], TURNS[3:5]):
        before, answer = template.answered(turns)
        expected.append({"input_ids": before + answer, "given": len(before)})
    assert [rows[i] for i in range(len(rows))] == expected


@pytest.mark.parametrize("template", ["", CHATML])
def test_answers_and_their_ends_alone_are_learnt_and_padding_is_not_seen(template: str) -> None:
    text_format = TextFormat.of(talker(template))
    rows = AnswerRows.build([TURNS], text_format, 200, QUIET)
    listed = [rows[0], rows[1]]
    batch = CanvasCollator(text_format)(listed)
    for number, row in enumerate(listed):
        ids, given = row["input_ids"], row["given"]
        assert isinstance(ids, list) and isinstance(given, int)
        learnt = batch["labels"][number] != IGNORED
        assert learnt.nonzero().flatten().tolist() == list(range(given, len(ids)))
        assert batch["labels"][number][len(ids) - 1] == ChatTemplate(text_format.tokenizer).end_id
        assert batch["attention_mask"][number].tolist() == [
            int(place < len(ids)) for place in range(batch["labels"].shape[1])
        ]


def test_answers_that_do_not_fit_are_counted() -> None:
    text_format, out = TextFormat.of(talker()), io.StringIO()
    size = len(AnswerRows.build([TURNS[1:3]], text_format, 200, QUIET)[0]["input_ids"])  # type: ignore[arg-type]
    found = AnswerRows.build([TURNS[1:3], TURNS], text_format, size, Console(file=out))
    assert len(found) == 1
    assert "left out 2 answers" in out.getvalue()
    with pytest.raises(DataError, match="2 are longer"):
        AnswerRows.build([TURNS], text_format, 4, QUIET)


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    """Twenty of them, a few under another licence."""
    rows = [
        {"messages": SAID[:1] + SAID[1:3] * (1 + n % 2), "license": "MIT" if n % 5 else "other"}
        for n in range(20)
    ]
    return write_rows(tmp_path / "chat.jsonl", rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "cross-entropy", "mask_rate_settings": {"low": 0.15, "high": 0.99}},
        {"after_end": "pad", "random_room": 0.5, "end_share": 0.2, "prompt_dropout": 0.2},
    ],
    ids=["rates", "bound"],
)
def test_a_model_learns_to_answer(
    recipe: Recipe, run: Any, conversations: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    told = run(
        recipe(
            data=str(conversations),
            chat=True,
            length=64,
            steps=3,
            repeat_field="license",
            repeats={"MIT": 1},
            repeat_others=0,
            sample_prompt="Hello?",
            **changes,
        )
    )
    assert "24 rows of up to 64 tokens" in told, "16 conversations, every other one with two answers"
    assert "Hello? -> " in told
    folder = tmp_path / "model"
    assert DEFAULT_TEMPLATE in (folder / "chat_template.jinja").read_text("utf-8")
    lm = td.load(str(folder), device="cpu")
    answer = lm.chat([{"role": "user", "content": "Hello?"}], length=4, steps=2)
    before = ChatTemplate(lm.format.tokenizer).prompt(TURNS[1:2])
    assert (answer.prompt_tokens, answer.generated_tokens <= 4) == (len(before), True)
    assert json.loads((folder / "diffusion.json").read_text("utf-8"))["learns_end"]
    assert lm.tells_length is ("after_end" in changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clean": ("nfc",)}, "leave clean out"),
        ({"arrange": "truncated"}, "leave arrange out"),
        ({"streaming": True, "steps": 3}, "leave streaming out"),
        ({"prefix_length": 4}, "leave prefix_length out"),
        ({"learn_end": False}, "keep learn_end on"),
        ({"repeat_others": -1.0}, "must be 0 or more"),
    ],
)
def test_what_is_for_whole_texts_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        TrainingRecipe(data="x", chat=True, **changes)


def test_a_template_needs_conversations_and_a_file(recipe: Recipe, run: Any, conversations: Path) -> None:
    with pytest.raises(SettingsError, match="give chat too"):
        TrainingRecipe(data="x", chat_template="a.jinja")
    with pytest.raises(SettingsError, match="cannot be read"):
        run(recipe(data=str(conversations), chat=True, chat_template="nowhere.jinja"))
