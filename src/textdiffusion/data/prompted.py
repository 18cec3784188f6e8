"""Prompts with their answers, from JSON that holds both; any other source gives whole documents."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from ..errors import DataError
from .conversations import MESSAGES, Turns, answers_of, turns_of
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


@dataclass(frozen=True)
class Prompted:
    """A text to be written, and what is given of it."""

    prompt: str | None
    """None where all is in `answer`, and its first tokens are given."""
    answer: str
    turns: Turns = ()
    """The conversation before the answer, whose last message is the prompt; empty where there is none."""


def read_prompted(source: str, *, split: str, text_field: str | None = None) -> Iterator[Prompted]:
    """The prompts and answers of a split of JSON files, or its documents where they hold none.

    A conversation (`messages`) gives each of its answers.

    Raises:
        DataError: as `read_documents`, and for a row without the fields of the first one.
    """
    files = split_files(source, split)
    readers = [JSON_ROWS.get(kind_of(path) or "") for path in files]
    if files and all(readers):
        rows = chain.from_iterable(read(path) for read, path in zip(readers, files, strict=True) if read)
        first = next(rows, None)
        if first is not None and _pairs_of(first[1], first[0]) is not None:
            for where, row in chain([first], rows):
                pairs = _pairs_of(row, where)
                if pairs is None:
                    raise DataError(f"{where}: no prompt with an answer, as the rows before it have.")
                yield from pairs
            return
    for text in read_documents(source, split=split, text_field=text_field):
        yield Prompted(None, text)


def _pairs_of(row: object, where: str) -> list[Prompted] | None:
    """What a row asks and answers; None where it is of another kind."""
    if not isinstance(row, Mapping):
        return None
    for prompt, answer in FIELDS:
        if isinstance(row.get(prompt), str) and isinstance(row.get(answer), str):
            return [Prompted(row[prompt], row[answer])]
    if MESSAGES not in row:
        return None
    answered = answers_of(turns_of(row[MESSAGES], where))
    return [
        Prompted(before[-1].content if before else "", last.content, tuple(before))
        for *before, last in answered
    ]
