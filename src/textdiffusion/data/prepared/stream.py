"""The documents of one pass in their one order, which everything else keeps."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ...errors import DataError
from ..clean import CleanedDocuments
from ..shuffling import shuffled
from ..sources import Documents

Document = str | bytes
"""A text, or the ids of one (see `raw`)."""


@dataclass(frozen=True)
class DocumentStream:
    """Documents, shuffled if that is wanted, from a certain one on; can be sent to another process."""

    documents: Iterable[Document]
    """Read anew at each iteration."""
    shuffle_buffer: int = 1
    """Documents at hand, of which the next is drawn; 1 keeps the order of the source."""
    seed: int = 0
    passed: int = 0
    """Documents that an earlier run has dealt with."""
    digest: str = ""
    """What `chained` made of their keys."""

    def __iter__(self) -> Iterator[Document]:
        """Read from the start, and hand out what comes after those passed over.

        Raises:
            DataError: these are not the documents that they were.
        """
        every = shuffled(self.documents, self.shuffle_buffer, np.random.default_rng(self.seed))
        digest = ""
        for document in islice(every, self.passed):
            digest = chained(digest, key_of(document))
        if digest != self.digest:
            raise DataError(
                f"the source no longer begins with the {self.passed} documents that were prepared before; "
                "remove the unfinished folder and begin anew."
            )
        yield from every

    def parts(self) -> tuple[Iterable[Document], ...]:
        """Streams that can be read apart and give this one when joined: one a file, where that can be."""
        whole = self.shuffle_buffer > 1 or self.passed
        match self.documents:
            case CleanedDocuments(documents=Documents(files=files), cleaners=cleaners) if files and not whole:
                return tuple(CleanedDocuments(_Reading(file), cleaners) for file in files)
        return (self,)


@dataclass(frozen=True)
class _Reading:
    """What a function reads, as often as needed."""

    read: Callable[[], Iterable[str]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())


def key_of(document: Document) -> bytes:
    """A hash of what the document says, 16 bytes; it does not hang on where the document stands.

    Raises:
        DataError: it holds half a character, which no tokenizer reads.
    """
    try:
        content = document if isinstance(document, bytes) else document.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the document that begins {document[:40]!a} holds half a character, "
            f"{error.object[error.start]!a}; mend or remove it."
        ) from None
    return hashlib.blake2b(content, digest_size=16).digest()


def chained(digest: str, key: bytes) -> str:
    """A hash, in hexadecimal digits, of all keys so far: the one before and the next key."""
    return hashlib.blake2b(bytes.fromhex(digest) + key, digest_size=16).hexdigest()
