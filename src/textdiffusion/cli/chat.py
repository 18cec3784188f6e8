"""`textdiffusion chat`: a conversation in the terminal, or one answer for each line of a pipe."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from ..errors import SettingsError, TextDiffusionError
from ..generation import Decoding
from .chat_session import ChatSession, Quit
from .entered import lines
from .flags import Parser, build, rest
from .model import ModelChoice
from .order import add_decoding, settings_elsewhere
from .quiet import quiet_libraries


@dataclass(frozen=True)
class Talk(ModelChoice):
    """Who talks, and how long."""

    system: str = ""
    """What the system says before all; /system changes it."""
    length: int | Literal["auto"] | None = None
    """New tokens of an answer; read by the model where it can tell, else 64, when left out."""
    seed: int = 0
    """Seed of the first answer; each further one takes the next."""
    compile: bool = False
    """Compile the layers with torch.compile first; it pays on GPUs and for long chats, seldom on a CPU."""
    delay: float = 0.05
    """Least seconds between two steps that are shown at a terminal."""

    def __post_init__(self) -> None:
        """Refuse what would be refused after loading.

        Raises:
            SettingsError: see the message.
        """
        if not 0.0 <= self.delay < float("inf"):
            raise SettingsError(f"delay is {self.delay}; give seconds between two steps, 0 or more.")


def run(prog: str, argv: Sequence[str]) -> int:
    """Answer what is typed, or each line of standard input, until it ends."""
    about = "Talk with a model; /help at the prompt lists what can be changed meanwhile."
    parser = Parser(prog, about)
    parser.add_fields(Talk)
    add_decoding(parser, argv)
    given = parser.read(argv, elsewhere=settings_elsewhere())
    talk, options = build(Talk, given), rest(given, (Talk,))
    Decoding().changed(options).recipe()  # raises now what would be raised after loading
    quiet_libraries()
    notes, out = Console(stderr=True, highlight=False), Console(highlight=False)
    with notes.status("loading the model"):
        lm = talk.load(compile=talk.compile)
    if not lm.format.tokenizer.chat_template:
        said = f"note: {lm.name} was not trained on conversations; train a model with recipes/chat.yaml"
        notes.print(said, markup=False, soft_wrap=True)
    at_terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    session = ChatSession(
        lm,
        options,
        out=out,
        notes=notes,
        talks=at_terminal,
        length=talk.length,
        seed=talk.seed,
        delay=talk.delay,
        system=talk.system,
    )
    _talk(session)
    return 0


def _talk(session: ChatSession) -> None:
    for line in lines("You:"):
        if not line.strip():
            continue
        try:
            session.take(line)
        except Quit:
            return
        except TextDiffusionError as error:
            if not session.talks:
                raise
            session.notes.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
