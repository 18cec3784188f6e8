"""Arrays of token ids that other programs wrote: nothing but numbers, documents divided by an end of text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, SettingsError
from ...registry import Registry
from .metadata import Vocabulary

RAW_DTYPES: Registry[np.dtype[Any]] = Registry(
    "dtype",
    {
        "uint16": np.dtype("<u2"),
        "uint32": np.dtype("<u4"),
        "int32": np.dtype("<i4"),
        "int64": np.dtype("<i8"),
    },
)
"""Numbers that such an array may be made of, the lowest byte first."""

LONGEST_DOCUMENT = 4_000_000
"""Ids after which a document without an end is handed out, so that memory stays bounded."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RawDocuments:
    """The documents of a raw array, each with its end, as the bytes of uint32 numbers; joined, the array."""

    path: Path
    dtype: str
    """A name in `RAW_DTYPES`."""
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        """Refuse what can be seen without reading.

        Raises:
            DataError: the file is empty or holds half a number.
            SettingsError: the numbers are too narrow for the ids of the tokenizer.
        """
        largest, size = int(np.iinfo(RAW_DTYPES[self.dtype]).max), RAW_DTYPES[self.dtype].itemsize
        if largest < self.vocabulary.size - 1:
            raise SettingsError(
                f"a {self.dtype} cannot hold the {self.vocabulary.size} ids of the tokenizer "
                f"{self.vocabulary.name}; give the --dtype and --tokenizer that {self.path} was made with."
            )
        found = self.path.stat().st_size
        if not found or found % size:
            raise DataError(
                f"{self.path} has {found} bytes, which is no array of {self.dtype} ({size} bytes each); give "
                "the --dtype that it was made with, or fetch it again."
            )

    def __len__(self) -> int:
        """Ids in the array."""
        return self.path.stat().st_size // RAW_DTYPES[self.dtype].itemsize

    def __iter__(self) -> Iterator[bytes]:
        """Document after document.

        Raises:
            DataError: an id that the tokenizer does not know.
        """
        array = np.memmap(self.path, RAW_DTYPES[self.dtype], mode="r")
        begun, size = list[NDArray[np.uint32]](), 0
        for start in range(0, len(array), _CHUNK):
            ids = self._checked(array[start : start + _CHUNK], start)
            for piece in self._divided(ids):
                begun.append(piece)
                size += len(piece)
                if piece[-1] == self.vocabulary.end_id or size >= LONGEST_DOCUMENT:
                    yield np.concatenate(begun).tobytes()
                    begun, size = [], 0
        if begun:
            yield np.concatenate(begun).tobytes()

    def _checked(self, ids: NDArray[Any], start: int) -> NDArray[np.uint32]:
        strange = np.flatnonzero((ids < 0) | (ids >= self.vocabulary.size))
        if len(strange):
            place = int(strange[0])
            raise DataError(
                f"{self.path} holds id {int(ids[place])} at place {start + place}, but the tokenizer "
                f"{self.vocabulary.name} has {self.vocabulary.size} tokens; give the --dtype and the "
                "--tokenizer that it was made with."
            )
        return ids.astype("<u4")

    def _divided(self, ids: NDArray[np.uint32]) -> Iterator[NDArray[np.uint32]]:
        """The ids cut behind each end of text."""
        end = self.vocabulary.end_id
        cuts = [] if end is None else (np.flatnonzero(ids == end) + 1).tolist()
        yield from (piece for piece in np.split(ids, cuts) if len(piece))


def ids_of(documents: Iterable[bytes]) -> list[NDArray[np.uint32]]:
    """The ids of raw documents; stands where the tokenizer stands for text."""
    return [np.frombuffer(document, dtype="<u4") for document in documents]
