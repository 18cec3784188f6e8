"""Prompts with their answers, from JSON that holds both; any other source gives whole documents."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from ..errors import DataError
from .formats import JSON_ROWS, kind_of
from .sources import read_documents, split_files

FIELDS = (
    ("prompt", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "output"),
    ("user_prompt", "model_response"),
)
"""Names under which rows keep a prompt and its answer; the first pair that a row has is taken."""
CHAT = "messages"
"""Field of a conversation; its first answer and the message before it are taken."""


@dataclass(frozen=True)
class Prompted:
    """A text to be written, and what is given of it."""

    prompt: str | None
    """None where all is in `answer`, and its first tokens are given."""
    answer: str


def read_prompted(source: str, *, split: str, text_field: str | None = None) -> Iterator[Prompted]:
    """The prompts and answers of a split of JSON files, or its documents where they hold none.

    Raises:
        DataError: as `read_documents`, and for a row without the fields of the first one.
    """
    files = split_files(source, split)
    readers = [JSON_ROWS.get(kind_of(path) or "") for path in files]
    if files and all(readers):
        rows = chain.from_iterable(read(path) for read, path in zip(readers, files, strict=True) if read)
        first = next(rows, None)
        if first is not None and _pair_of(first[1]) is not None:
            for where, row in chain([first], rows):
                pair = _pair_of(row)
                if pair is None:
                    raise DataError(f"{where}: no prompt with an answer, as the rows before it have.")
                yield pair
            return
    for text in read_documents(source, split=split, text_field=text_field):
        yield Prompted(None, text)


def _pair_of(row: object) -> Prompted | None:
    if not isinstance(row, Mapping):
        return None
    for prompt, answer in FIELDS:
        if isinstance(row.get(prompt), str) and isinstance(row.get(answer), str):
            return Prompted(row[prompt], row[answer])
    messages = row.get(CHAT)
    return _first_answer(messages) if isinstance(messages, Sequence) else None


def _first_answer(messages: Sequence[object]) -> Prompted | None:
    said = [
        (message.get("role"), message.get("content")) for message in messages if isinstance(message, Mapping)
    ]
    for (_, prompt), (speaker, answer) in pairwise(said):
        if speaker in ("assistant", "gpt") and isinstance(prompt, str) and isinstance(answer, str):
            return Prompted(prompt, answer)
    return None
