"""From documents to rows of token ids: blocks of one length, or one document a row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, SettingsError
from ..registry import Registry

EncodeBatch = Callable[[list[str]], list[list[int]]]
"""Token ids of several texts, with the ids that begin and end each."""
Progress = Callable[[int, int], None]
"""Told how many documents and how many tokens are done so far."""
Arrange = Callable[[Iterable[Sequence[int]], int], Iterator[list[int]]]
"""Cuts the token ids of document after document into rows of at most so many tokens, in order."""

_BATCH = 64


def pack_blocks(streams: Iterable[Sequence[int]], length: int) -> Iterator[list[int]]:
    """The documents one after the other, cut into blocks of exactly `length`; the last block may be shorter.

    A block may hold the end of one document and the beginning of the next. No token is lost or moved.
    """
    _check_length(length)
    rest: list[int] = []
    for stream in streams:
        rest.extend(stream)
        whole = len(rest) - len(rest) % length
        for start in range(0, whole, length):
            yield rest[start : start + length]
        del rest[:whole]
    if rest:
        yield rest


def window_rows(streams: Iterable[Sequence[int]], length: int) -> Iterator[list[int]]:
    """Each document by itself, cut into rows of `length`, its last one shorter; no token is lost."""
    _check_length(length)
    for stream in streams:
        for start in range(0, len(stream), length):
            yield list(stream[start : start + length])


def truncated_rows(streams: Iterable[Sequence[int]], length: int) -> Iterator[list[int]]:
    """The first `length` tokens of each document as a row; documents without tokens are left out."""
    _check_length(length)
    for stream in streams:
        if stream:
            yield list(stream[:length])


def _check_length(length: int) -> None:
    """Refuse rows that hold nothing."""
    if length < 1:
        raise SettingsError(f"Rows of {length} tokens; the length must be 1 or more.")


ARRANGEMENTS: Registry[Arrange] = Registry(
    "arrangement", {"blocks": pack_blocks, "windows": window_rows, "truncated": truncated_rows}
)
"""Ways to make rows, by name: packed blocks, windows on each document, the beginning of each document."""

ONE_DOCUMENT = ("windows", "truncated")
"""Those whose rows hold one document each, so that nothing but padding stands behind its end."""


def encode_documents(documents: Iterable[str], encode_batch: EncodeBatch) -> Iterator[list[int]]:
    """Token ids of each document, encoded a few dozen at a time, as they are asked for."""
    texts = iter(documents)
    while batch := list(islice(texts, _BATCH)):
        yield from encode_batch(batch)


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of token ids in memory, four bytes a token; serves as a map-style data set for any loader."""

    tokens: NDArray[np.int32]
    """All rows, one after the other."""
    offsets: NDArray[np.int64]
    """Where each row begins, and at last where the last one ends."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        """Row `index` as ``{"input_ids": [...]}``; negative ones count from the end.

        Raises:
            IndexError: there is no such row.
        """
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"Row {index} of {size}.")
        place = index % size
        return {"input_ids": self.tokens[self.offsets[place] : self.offsets[place + 1]].tolist()}

    @classmethod
    def build(
        cls,
        documents: Iterable[str],
        encode_batch: EncodeBatch,
        *,
        arrange: Arrange,
        length: int,
        progress: Progress | None = None,
    ) -> "TokenRows":
        """Encode the documents and arrange them in rows of at most `length`.

        Raises:
            DataError: the documents have no tokens at all.
        """
        streams = encode_documents(documents, encode_batch)
        counted = streams if progress is None else _counted(streams, progress)
        return cls.of_rows(arrange(counted, length))

    @classmethod
    def of_rows(cls, rows: Iterable[Sequence[int]]) -> "TokenRows":
        """The rows as they are.

        Raises:
            DataError: there is none.
        """
        parts: list[NDArray[np.int32]] = []
        lengths = []
        for row in rows:
            parts.append(np.asarray(row, dtype=np.int32))
            lengths.append(len(row))
        if not parts:
            raise DataError("The documents have no tokens; give some text, or check the tokenizer.")
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(np.concatenate(parts), offsets)


def _counted(streams: Iterable[Sequence[int]], progress: Progress) -> Iterator[Sequence[int]]:
    """The same streams, telling `progress` after every batch and at the end."""
    documents = tokens = 0
    for stream in streams:
        yield stream
        documents, tokens = documents + 1, tokens + len(stream)
        if documents % _BATCH == 0:
            progress(documents, tokens)
    if documents % _BATCH:
        progress(documents, tokens)
