"""Texts as what is scored of them: real tokens alone, each once, long documents in windows that overlap."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from ..chat_template import ChatTemplate
from ..data.conversations import ASSISTANT, Message
from ..data.prompted import Prompted
from ..errors import DataError, SettingsError
from ..language_model import DiffusionLM
from ..tokens import TextFormat
from .likelihood import Passage

_MOST = 100_000
"""Texts of a source among which is chosen."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Windows:
    """How a document longer than a model's context is cut."""

    context: int
    """Tokens that the model sees at once."""
    stride: int
    """Tokens that a later window scores, given those before it that are left of the context."""

    @classmethod
    def of(cls, lm: DiffusionLM, context: int | None = None, stride: int | None = None) -> "Windows":
        """Those of a model: all that it holds, and half of that as stride, when left out.

        Raises:
            SettingsError: the model does not hold so much, or nothing would be given.
        """
        length = lm.longest if context is None else context
        if not 2 <= length <= lm.longest:
            raise SettingsError(
                f"a context of {length} tokens: {lm.name} holds {lm.longest}; give a number from 2 to that."
            )
        step = max(1, length // 2) if stride is None else stride
        if not 1 <= step < length:
            raise SettingsError(
                f"stride {step} with a context of {length} tokens; give a number from 1 to {length - 1}, as "
                "what a window scores needs something that is given."
            )
        return cls(length, step)

    def cut(self, ids: Sequence[int], scored: Sequence[bool], seed: int = 0) -> list[Passage]:
        """The windows of a document in which something is scored, every token in one of them alone."""
        found, begin = list[Passage](), 0
        while begin < len(ids):
            start = max(0, begin - (self.context - self.stride)) if begin else 0
            end = min(len(ids), begin + self.stride if begin else self.context)
            flags = [False] * (begin - start) + list(scored[begin:end])
            if any(flags):
                found.append(Passage(ids[start:end], flags, seed + len(found)))
            begin = end
        return found


@dataclass(frozen=True)
class Document:
    """A text as the passages that are scored of it."""

    number: int
    """Its place among the texts that were given."""
    passages: Sequence[Passage]
    tokens: int
    """Scored tokens."""
    bytes: int
    """What these tokens say, in bytes of UTF-8."""


@dataclass(frozen=True)
class Corpus:
    """Documents as one model reads them, and what is odd about them."""

    documents: Sequence[Document]
    empty: int
    """Documents left out because nothing in them can be scored."""
    single: int
    """Documents of which a single token is scored."""
    altered: int
    """Documents that the tokenizer does not keep as they are: bits per byte tells of what it keeps."""

    @property
    def passages(self) -> list[Passage]:
        """All of them, in order."""
        return [passage for document in self.documents for passage in document.passages]

    def common(self, other: "Corpus") -> "Corpus":
        """The same without the documents that the other corpus has not."""
        numbers = {document.number for document in other.documents}
        return replace(self, documents=[each for each in self.documents if each.number in numbers])


def read_corpus(
    texts: Iterable[Prompted], lm: DiffusionLM, windows: Windows, *, ends: bool, seed: int = 0
) -> Corpus:
    """Documents in the model's own format: begin and prompt are given, the rest scored, its end if `ends`.

    An end that is not scored stands behind the text nevertheless, as it did in training. A network that says
    each token from the one before it is not asked about the first of a text without begin, and a text that
    holds the mask as an ordinary word not about that.

    Raises:
        DataError: nothing can be scored.
    """
    found, altered, number = list[Document](), 0, -1
    for number, text in enumerate(texts):
        ids, given = _ids(text, lm.format, windows.context)
        scored = _scored(ids, max(given, int(lm.denoiser.shift)), lm.format, ends=ends)
        passages = windows.cut(ids, scored, (seed << 40) + (number << 20))
        if passages:
            found.append(Document(number, passages, sum(scored), _bytes(text, scored, lm.format)))
            altered += not _kept(text, ids, given, lm.format)
    if not found:
        raise DataError(f"none of {number + 1} documents has a token to score; give text.")
    single = sum(document.tokens == 1 for document in found)
    return Corpus(found, number + 1 - len(found), single, altered)


def split_ids(text_format: TextFormat, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt with its begin, and of an answer as it goes on behind it, without an end."""
    start, whole = text_format.prompt(prompt), text_format.prompt(prompt + answer)
    if whole[: len(start)] != start:  # a token reaches from the prompt into the answer
        whole = start + text_format.prompt(answer)[text_format.begin_id is not None :]
    return start, whole[len(start) :]


def draw(items: Iterable[_T], limit: int | None, seed: int) -> list[_T]:
    """Up to `limit` of the first 100,000 items, in a random order that the seed alone decides."""
    return list(islice(shuffled(items, seed), limit))


def shuffled(items: Iterable[_T], seed: int) -> Iterator[_T]:
    """The first 100,000 items in the order that the seed decides."""
    listed = list(islice(items, _MOST))
    for index in np.random.default_rng(seed).permutation(len(listed)):
        yield listed[int(index)]


def conversation_ids(text: Prompted, text_format: TextFormat, room: int) -> tuple[list[int], list[int]]:
    """Ids of what stands before an answer of a conversation, and of the answer with its end.

    The oldest turns are left out where there is no room for them; what is then too long stays so.
    """
    template, turns = ChatTemplate(text_format.tokenizer), (*text.turns, Message(ASSISTANT, text.answer))
    return template.answered_within(turns, room) or template.answered(turns)


def _kept(text: Prompted, ids: Sequence[int], given: int, text_format: TextFormat) -> bool:
    """Whether the tokenizer keeps a text as it is."""
    if text.turns:  # the template may trim an answer
        return text_format.decode(ids[given:]).strip() == text.answer.strip()
    return text_format.decode(ids) == (text.prompt or "") + text.answer


def _ids(text: Prompted, text_format: TextFormat, context: int) -> tuple[list[int], int]:
    """Ids of a document, and how many of the first are given."""
    if text.turns:
        before, answer = conversation_ids(text, text_format, context)
        return before + answer, len(before)
    if text.prompt is None:
        return text_format.document([text.answer])[0], int(text_format.begin_id is not None)
    start, rest = split_ids(text_format, text.prompt, text.answer)
    return start + rest + ([] if text_format.end_id is None else [text_format.end_id]), len(start)


def _scored(ids: Sequence[int], given: int, text_format: TextFormat, *, ends: bool) -> list[bool]:
    scored = [place >= given and token != text_format.mask_id for place, token in enumerate(ids)]
    if text_format.end_id is not None and not ends:
        scored[-1] = False
    return scored


def _bytes(text: Prompted, scored: Sequence[bool], text_format: TextFormat) -> int:
    """Bytes of what is scored of a text: all of it but for tokens of the text itself that are not."""
    begin = text_format.begin_id is not None
    own = scored[begin : len(scored) - (text_format.end_id is not None)]
    if text.prompt is not None or all(own):
        return len(text.answer.encode())
    pieces = text_format.given(text.answer, holes=False)[begin:]
    return sum(len(piece.encode()) for piece, here in zip(pieces, own, strict=True) if here)
