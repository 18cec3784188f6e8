"""Conversations: rows with `messages`, of which a model learns and is asked for the answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from ..errors import DataError
from ..registry import did_you_mean
from .formats import Repeats
from .sources import read_rows

MESSAGES = "messages"
"""Field of a row that holds a conversation."""
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {SYSTEM: SYSTEM, USER: USER, "human": USER, ASSISTANT: ASSISTANT, "gpt": ASSISTANT}
"""Words for who speaks, and what they mean."""


@dataclass(frozen=True)
class Message:
    """What one side says in its turn."""

    role: str
    """system, user or assistant."""
    content: str


Turns = tuple[Message, ...]
"""A conversation, or the beginning of one."""


def turns_of(messages: object, where: str) -> Turns:
    """The messages of a conversation, each a mapping with `role` and `content`.

    Raises:
        DataError: they are no list, or one has no known role or no text; `where` is their place.
    """
    if isinstance(messages, str) or not isinstance(messages, Sequence) or not messages:
        raise DataError(f"{where}: {MESSAGES} is no list of messages; give objects with role and content.")
    return tuple(_message(each, f"{where}, message {number}") for number, each in enumerate(messages, 1))


def answers_of(turns: Turns) -> Iterator[Turns]:
    """The conversation up to each of its answers that says something; a last turn without one is none."""
    for place, message in enumerate(turns):
        if message.role == ASSISTANT and message.content.strip():
            yield turns[: place + 1]


def shortened(turns: Turns) -> Iterator[Turns]:
    """The conversation, and then with fewer and fewer of its oldest turns.

    What the system says at the start stays, and a user speaks first behind it.
    """
    head = next((place for place, each in enumerate(turns) if each.role != SYSTEM), len(turns))
    yield turns
    for start in range(head + 1, len(turns)):
        if turns[start].role == USER:
            yield turns[:head] + turns[start:]


@dataclass(frozen=True)
class Conversations:
    """The conversations of a source, read anew at each iteration."""

    source: str
    """A file of rows, a folder of splits, or a data set of the Hub."""
    split: str
    repeats: Repeats = field(default_factory=Repeats)
    """How often the conversations of each group are read."""

    def __iter__(self) -> Iterator[Turns]:
        """Read from the start.

        Raises:
            DataError: a row is no conversation, or there is none at all.
        """
        times, found = self.repeats.counter(), False
        for where, row in read_rows(self.source, split=self.split):
            turns = turns_of(row.get(MESSAGES), where)
            for each in repeat(turns, times(row)):
                found = True
                yield each
        if not found:
            raise DataError(
                f"{self.source} gives no conversation to read; give rows with {MESSAGES}, of groups that "
                "`repeats` reads."
            )

    def texts(self) -> Iterator[str]:
        """What is said in each conversation, as one text."""
        return ("\n".join(message.content for message in turns) for turns in self)


def _message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise DataError(f"{where} is {type(message).__name__}; give an object with role and content.")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        near = did_you_mean(str(role), ROLES)
        raise DataError(f"{where} has the role {role!r}; it must be one of {', '.join(ROLES)}.{near}")
    if not isinstance(content, str):
        raise DataError(f"{where} holds {type(content).__name__}, not text; mend or remove the row.")
    return Message(ROLES[role], content)
