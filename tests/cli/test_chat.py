"""chat: lines of a pipe, what is typed at a terminal, and the commands between."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from talk import SAID

import textdiffusion as td
from textdiffusion.checkpoint import (
    Checkpoint,
    DiffusionTransformerForMaskedLM,
    ModelSettings,
    save_checkpoint,
)
from textdiffusion.cli.chat_session import ChatSession
from textdiffusion.data.conversations import Conversations
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig
from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.language_model import DiffusionLM

from .conftest import SPECIAL, Run, make_tokenizer

LONG = 160


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with room for a conversation."""
    tokenizer, folder = make_tokenizer(SPECIAL), tmp_path_factory.mktemp("models") / "talker"
    config = DiffusionTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LONG,
    )
    network = DiffusionTransformerForMaskedLM(config)
    save_checkpoint(folder, Checkpoint(network, tokenizer, ModelSettings(length=LONG, learns_end=True)))
    return str(folder)


@pytest.fixture
def lm(talker: str) -> DiffusionLM:
    """The same, loaded."""
    return td.load(talker, device="cpu")


class Keyboard(io.StringIO):
    """Standard input at a terminal."""

    def isatty(self) -> bool:
        return True


def session(lm: DiffusionLM, **changes: Any) -> ChatSession:
    """A chat whose notes can be read."""
    given: dict[str, Any] = {
        "out": Console(file=io.StringIO()),
        "notes": Console(file=io.StringIO()),
        "length": 4,
    }
    return ChatSession(lm, {"steps": 2}, **{**given, **changes})


def noted(chat: ChatSession) -> str:
    file = chat.notes.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_pipe_gets_the_answers_alone(run: Run, talker: str, lm: DiffusionLM) -> None:
    words = ["--model", talker, "--length", "4", "--steps", "2", "--seed", "3", "--system", "Be kind."]
    shown = run("chat", *words, stdin="Hello?\n\nWho?\n")
    messages, answers = [{"role": "system", "content": "Be kind."}], []
    for number, question in enumerate(("Hello?", "Who?")):
        messages.append({"role": "user", "content": question})
        answers.append(lm.chat(messages, length=4, steps=2, seed=3 + number).text)
        messages.append({"role": "assistant", "content": answers[-1]})
    assert (shown.code, shown.out) == (0, "".join(f"{answer}\n" for answer in answers))
    assert "was not trained on conversations" in shown.err


def test_commands_change_the_conversation(lm: DiffusionLM, tmp_path: Path) -> None:
    chat, file = session(lm), tmp_path / "chat.jsonl"
    with pytest.raises(SettingsError, match="nothing was asked"):
        chat.take("/redo")
    chat.take("/system Be kind.")
    chat.take("Hello?")
    chat.take("/steps 3")
    first = chat.messages
    chat.take("/redo")
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant"]
    expected = lm.chat(first[:2], length=4, steps=3, seed=1).text
    assert chat.messages == [*first[:2], {"role": "assistant", "content": expected}]
    chat.take(f"/save {file}")
    (saved,) = Conversations(str(file), "train")
    assert [{"role": each.role, "content": each.content} for each in saved] == chat.messages
    chat.take("/help")
    assert "/system TEXT" in noted(chat) and "saved" in noted(chat)
    chat.take("//not a command")
    assert chat.said[-2]["content"] == "/not a command"


def test_what_cannot_be_done_leaves_all_as_it_was(lm: DiffusionLM, tmp_path: Path) -> None:
    chat = session(lm)
    for line in ("/steps many", "/steps 0", "/save", f"/save {tmp_path / 'no' / 'where'}"):
        with pytest.raises(Exception, match=r"steps is|no file|Cannot write"):
            chat.take(line)
    with pytest.raises(UnknownNameError, match="Did you mean redo"):
        chat.take("/rdo")
    assert (chat.options, chat.said) == ({"steps": 2}, [])


def test_ctrl_c_stops_the_answer_and_not_the_chat(lm: DiffusionLM, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, stream = session(lm), lm.stream

    def interrupted(task: Any) -> Iterator[Any]:
        yield next(iter(stream(task)))
        raise KeyboardInterrupt

    monkeypatch.setattr(lm, "stream", interrupted)
    chat.take("Hello?")
    assert [message["role"] for message in chat.said] == ["user"] and "/redo" in noted(chat)
    chat.talks = False
    with pytest.raises(KeyboardInterrupt):
        chat.take("/redo")
    monkeypatch.setattr(lm, "stream", stream)
    chat.take("Who?")
    assert chat.said[0]["content"] == "Who?", "the unanswered question is dropped"


def test_an_error_at_a_terminal_does_not_end_the_chat(run: Run, talker: str) -> None:
    words = ["--model", talker, "--length", "4", "--steps", "2"]
    shown = run("chat", *words, stdin=Keyboard("/nonsense\nHello?\n/quit\nnever asked\n"))
    assert shown.code == 0 and "No chat command named 'nonsense'" in shown.err
    assert len(shown.out.splitlines()) >= 1
    piped = run("chat", *words, stdin="/nonsense\nHello?\n")
    assert piped.code == 2 and piped.out == ""


def test_the_answer_condenses_at_a_terminal(run: Run, talker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = ["--model", talker, "--length", "4", "--steps", "2", "--delay", "0"]
    shown = run("chat", *words, stdin=Keyboard("Hello?\n")).out
    assert "Step 1 / 2" in shown and "Step 2 / 2" in shown
    assert "User:" not in shown, "what was said before is not shown again"


def test_a_long_conversation_goes_on(lm: DiffusionLM) -> None:
    """The oldest turns are left out; an answer has the usual length where the model can tell none."""
    said = SAID[:1] + SAID[1:5] * 6 + SAID[5:]
    found = lm.chat(said, steps=1)
    assert not lm.tells_length
    assert found.prompt_tokens <= LONG - 64
    assert found.prompt.startswith("System: Be kind.")
    with pytest.raises(SettingsError, match="leaves no room"):
        lm.chat([{"role": "user", "content": "x" * 2 * LONG}], steps=1)


def test_flags_are_checked_before_the_model_is_loaded(run: Run) -> None:
    assert "delay" in run("chat", "--model", "nowhere", "--delay", "-1").error
    assert "steps is 0" in run("chat", "--steps", "0", "--model", "nowhere").error
    assert "belongs to --sampler" in run("chat", "--model", "nowhere", "--threshold", "0.5").error
