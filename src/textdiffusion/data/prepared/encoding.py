"""The work itself: a batch of documents becomes ids. Every engine does it by these functions."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .stream import Document, DocumentStream, key_of

Encode = Callable[[list[Any]], Sequence[Sequence[int] | NDArray[np.uint32]]]
"""Ids of several documents, each with its begin and end; can be sent to another process."""

MOST_DOCUMENTS = 256
MOST_CHARACTERS = 1_000_000
"""A batch ends with the document that reaches either."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A batch of documents as ids."""

    ids: NDArray[np.uint32]
    """Of all documents, one after the other."""
    lengths: list[int]
    """How many are of each document."""
    keys: list[bytes]
    """`key_of` each document."""


Generated = Generator[Encoded, None, None]
"""Batches as they are made; closed early where no more are wanted."""
Engine = Callable[[Encode, DocumentStream, int], Generated]
"""Encodes the documents of a stream by so many workers and hands them out in the order of the stream."""


def encoded(encode: Encode, documents: list[Document]) -> Encoded:
    """A batch of at least one document as ids."""
    keys = [key_of(document) for document in documents]
    ids = [np.asarray(found, dtype=np.uint32) for found in encode(documents)]
    return Encoded(np.concatenate(ids), [len(each) for each in ids], keys)


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents a few at a time, in order."""
    batch, size = list[Document](), 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if len(batch) >= MOST_DOCUMENTS or size >= MOST_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
