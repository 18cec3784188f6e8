"""Texts to be judged, written or held out, each behind a prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...errors import DataError
from ...tokens import TextFormat


@dataclass(frozen=True)
class Texts:
    """Texts that one way of writing, or people, put behind their prompts."""

    given: Sequence[Sequence[int]]
    """Ids of each prompt, with the begin of a text, as the writing model reads them."""
    written: Sequence[Sequence[int]]
    """Ids of what stands behind it."""
    prompts: Sequence[str]
    texts: Sequence[str]
    """What stands behind each prompt, without it."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.texts)

    def only(self, rows: Sequence[int]) -> "Texts":
        """Some of them, by their numbers."""
        return Texts(
            [self.given[row] for row in rows],
            [self.written[row] for row in rows],
            [self.prompts[row] for row in rows],
            [self.texts[row] for row in rows],
        )


def behind_prompts(
    text_format: TextFormat, given: Sequence[Sequence[int]], written: Sequence[Sequence[int]]
) -> Texts:
    """Texts of ids that stand behind their prompts."""
    return Texts(
        given,
        written,
        [text_format.decode(ids) for ids in given],
        [text_format.continued(*pair) for pair in zip(given, written, strict=True)],
    )


@dataclass(frozen=True)
class HeldOut:
    """What people wrote."""

    texts: Texts
    documents: Sequence[str]
    """The whole documents that the texts are from."""
    short: int
    """Documents that were passed over."""

    def parted(self, count: int) -> tuple[Texts, Texts]:
        """The first so many texts, and the others."""
        rows = range(len(self.texts))
        return self.texts.only(rows[:count]), self.texts.only(rows[count:])


def held_out(
    documents: Iterable[str], text_format: TextFormat, *, given: int, length: int, most: int
) -> HeldOut:
    """Up to so many human texts: the `given` first tokens of a document, and the `length` behind them.

    Documents that are shorter are passed over, and counted: all texts have equal room.

    Raises:
        DataError: no document is long enough.
    """
    begin = [] if text_format.begin_id is None else [text_format.begin_id]
    starts, rest, kept, short = list[list[int]](), list[list[int]](), list[str](), 0
    for document in documents:
        ids = text_format.prompt(document)[len(begin) :]
        if len(ids) < given + length:
            short += 1
            continue
        starts.append(begin + ids[:given])
        rest.append(ids[given : given + length])
        kept.append(document)
        if len(rest) == most:
            break
    if not rest:
        raise DataError(
            f"none of {short} documents has {given + length} tokens, of which {length} are compared with "
            "what is written: lower --length or --given, or give longer texts."
        )
    return HeldOut(behind_prompts(text_format, starts, rest), kept, short)
