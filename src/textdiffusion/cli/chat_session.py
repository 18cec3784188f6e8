"""A conversation that goes on: what was said, what is answered, and the commands that change it."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ..data.conversations import ASSISTANT, MESSAGES, SYSTEM, USER
from ..errors import SettingsError
from ..generation import Decoding
from ..language_model import DiffusionLM, Length, Task
from ..registry import Registry
from ..views.files import write_whole
from ..views.reader import TextReader
from ..views.terminal import watch

COMMAND = "/"
"""What a command begins with; twice, it begins a message with one slash."""


class Quit(Exception):
    """The user has asked for the end."""


@dataclass
class ChatSession:
    """A model and the conversation with it so far."""

    lm: DiffusionLM
    options: dict[str, Any]
    """Fields of the decoding and the sampler's own settings."""
    out: Console
    """Where answers go; they condense there if it is a terminal."""
    notes: Console
    """Where all else goes."""
    talks: bool = True
    """Whether somebody types; else lines come from a pipe."""
    length: Length | None = None
    seed: int = 0
    """Of the next answer."""
    delay: float = 0.0
    """Least seconds between two steps that are shown."""
    system: str = ""
    said: list[dict[str, str]] = field(default_factory=list)
    """Messages so far, without that of the system; a last one of the user has no answer yet."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """All messages, that of the system first."""
        return [*([{"role": SYSTEM, "content": self.system}] if self.system else []), *self.said]

    def take(self, line: str) -> None:
        """Do what a line says: a command, or a message that is answered.

        Raises:
            Quit: the user goes.
            TextDiffusionError: it cannot be done; the conversation stays as it was, but for the question.
        """
        if not line.startswith(COMMAND) or line.startswith(COMMAND * 2):
            self.ask(line.removeprefix(COMMAND) if line.startswith(COMMAND) else line)
            return
        name, _, argument = line.removeprefix(COMMAND).partition(" ")
        CHAT_COMMANDS[name].run(self, argument.strip())

    def ask(self, text: str) -> None:
        """Put a question, in place of one that was not answered, and answer it."""
        self._forget(USER)
        self.said.append({"role": USER, "content": text})
        self.answer()

    def redo(self) -> None:
        """Answer the last question once more, otherwise.

        Raises:
            SettingsError: nothing was asked yet.
        """
        if not self.said:
            raise SettingsError("nothing was asked yet; type a message first.")
        self._forget(ASSISTANT)
        self.answer()

    def answer(self) -> None:
        """Write the next answer; Ctrl-C at a terminal stops it and leaves the question."""
        decoding = self.lm.decoding(None, self.options)
        task = self.lm.reply(self.messages, length=self.length, seed=self.seed, decoding=decoding)
        self.seed += 1
        try:
            self.said.append({"role": ASSISTANT, "content": self._written(task)})
        except KeyboardInterrupt:
            if not self.talks:
                raise
            self.notes.print("stopped; /redo answers again", style="dim")

    def _written(self, task: Task) -> str:
        live = self.out.is_terminal and not self.out.is_dumb_terminal
        frames = self.lm.stream(task)
        if live:
            frames = watch(frames, [answer_reader(self.lm, task)], self.out, delay=self.delay)
        text = self.lm.results(task, list(deque(frames, maxlen=1)))[0].text.strip()
        if not live:
            print(text, flush=True)
        return text

    def _forget(self, role: str) -> None:
        if self.said and self.said[-1]["role"] == role:
            self.said.pop()


def answer_reader(lm: DiffusionLM, task: Task) -> TextReader:
    """What reads the answer alone out of the frames of a task, up to its end."""
    new = task.canvas.editable
    return TextReader.of_row(
        0,
        editable=new,
        valid=new,
        decode=lambda ids: lm.format.decode(lm.format.written(ids)),
        mask_id=lm.format.mask_id,
    )


@dataclass(frozen=True)
class ChatCommand:
    """What may be typed besides messages."""

    run: Callable[[ChatSession, str], None]
    usage: str
    about: str


def _set_system(session: ChatSession, text: str) -> None:
    session.system = text
    said = "the system says this from now on" if text else "the system says nothing from now on"
    session.notes.print(said, style="dim")


def _set_steps(session: ChatSession, text: str) -> None:
    if not text.isdecimal():
        raise SettingsError(f"steps is {text!r}; give a whole number, such as /steps 32.")
    changed = {**session.options, "steps": int(text)}
    Decoding().changed(changed)
    session.options = changed
    session.notes.print(f"{int(text)} steps an answer from now on", style="dim")


def _save(session: ChatSession, text: str) -> None:
    if not text:
        raise SettingsError("no file was named; give one, such as /save chat.jsonl.")
    row = json.dumps({MESSAGES: session.messages}, ensure_ascii=False)
    write_whole(Path(text).expanduser(), f"{row}\n".encode())
    session.notes.print(f"saved {text}", style="dim", markup=False)


def _help(session: ChatSession, text: str) -> None:
    for command in CHAT_COMMANDS.values():
        session.notes.print(f"{command.usage:<14} {command.about}", markup=False, soft_wrap=True)
    session.notes.print("Ctrl-C stops an answer, Ctrl-D leaves; // begins a message with a slash")


def _quit(session: ChatSession, text: str) -> None:
    raise Quit


CHAT_COMMANDS: Registry[ChatCommand] = Registry(
    "chat command",
    {
        "system": ChatCommand(_set_system, "/system TEXT", "what the system says first; nothing if empty"),
        "steps": ChatCommand(_set_steps, "/steps N", "steps of each answer"),
        "redo": ChatCommand(lambda session, _: session.redo(), "/redo", "answer the last message otherwise"),
        "save": ChatCommand(_save, "/save FILE", "the conversation as a line of JSON to train on"),
        "help": ChatCommand(_help, "/help", "this list"),
        "quit": ChatCommand(_quit, "/quit", "leave"),
    },
)
"""In the order in which /help lists them."""
