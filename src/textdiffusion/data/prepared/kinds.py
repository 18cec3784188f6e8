"""How documents lie in an array of token ids, and how rows are read from it: packed, or one a row."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SettingsError
from ...registry import Registry
from .arrays import TokenArray
from .metadata import Vocabulary


@dataclass(frozen=True, eq=False)
class ArrayRows(ABC):
    """Rows of an array as a map-style data set for any loader, in any number of processes."""

    array: TokenArray
    length: int
    """Most tokens in a row."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def row(self, index: int) -> NDArray[Any]:
        """Ids of row `index`, which is at least 0 and below the number of rows."""

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        """Row `index` as ``{"input_ids": [...]}``; negative ones count from the end.

        Raises:
            IndexError: there is no such row.
        """
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"Row {index} of {size}.")
        return {"input_ids": self.row(index % size).tolist()}


@dataclass(frozen=True, eq=False)
class Windows(ArrayRows):
    """Row i is what stands from token i times `length` on; the last one may be shorter."""

    def __len__(self) -> int:
        return -(-self.array.size // self.length)

    def row(self, index: int) -> NDArray[Any]:
        start = index * self.length
        return self.array.ids[start : start + self.length]


@dataclass(frozen=True, eq=False)
class DocumentRows(ArrayRows):
    """Row i is document i."""

    pad_id: int
    end_id: int | None
    whole: bool = False
    """With its padding."""

    def __len__(self) -> int:
        return self.array.size // self.length

    def row(self, index: int) -> NDArray[Any]:
        start = index * self.length
        row = self.array.ids[start : start + self.length]
        if self.whole:
            return row
        filled = np.flatnonzero(row != self.pad_id)
        size = int(filled[-1]) + 1 if len(filled) else 0
        # Where the end is the padding too, the first of what looks like padding is the end.
        return row[: size + (self.pad_id == self.end_id)]


class Kind(ABC):
    """One way to lay documents down."""

    arrangements: tuple[str, ...]
    """Names in `ARRANGEMENTS` of what its rows are to a training."""

    @abstractmethod
    def check(self, length: int | None, vocabulary: Vocabulary) -> None:
        """Raise SettingsError where this cannot work."""

    @abstractmethod
    def laid(
        self, ids: NDArray[np.uint32], length: int | None, vocabulary: Vocabulary
    ) -> NDArray[np.uint32] | None:
        """What stands in the array for a document of these ids; None where it does not fit."""

    @abstractmethod
    def rows(
        self, array: TokenArray, made: int | None, wanted: int, vocabulary: Vocabulary, *, whole: bool
    ) -> ArrayRows:
        """Rows of at most `wanted` tokens of an array that was made for rows of `made`.

        Raises:
            SettingsError: the rows are longer.
        """


@dataclass(frozen=True)
class Packed(Kind):
    """Documents one after the other, each with its begin and end, and nothing between them."""

    arrangements: tuple[str, ...] = ("blocks",)

    def check(self, length: int | None, vocabulary: Vocabulary) -> None:
        if length is not None:
            raise SettingsError(
                f"length is {length}, but packed documents have no rows before they are trained on; leave "
                "--length out, or choose --kind rows."
            )

    def laid(
        self, ids: NDArray[np.uint32], length: int | None, vocabulary: Vocabulary
    ) -> NDArray[np.uint32] | None:
        return ids

    def rows(
        self, array: TokenArray, made: int | None, wanted: int, vocabulary: Vocabulary, *, whole: bool
    ) -> ArrayRows:
        return Windows(array, wanted)


@dataclass(frozen=True)
class Rows(Kind):
    """Each document in a row of one length: begin, text, end and padding; longer ones are left out."""

    # The same rows in all three, as no document is longer.
    arrangements: tuple[str, ...] = ("blocks", "windows", "truncated")

    def check(self, length: int | None, vocabulary: Vocabulary) -> None:
        least = 1 + (vocabulary.begin_id is not None) + (vocabulary.end_id is not None)
        if length is None:
            raise SettingsError("rows need a length; give the tokens per row with --length.")
        if length < least:
            raise SettingsError(f"length is {length}; a row of one token of text has at least {least}.")
        if vocabulary.end_id is None:
            raise SettingsError(
                f"the tokenizer {vocabulary.name} has no token that ends a text, so rows cannot be told from "
                "their padding; choose --kind packed or another --tokenizer."
            )

    def laid(
        self, ids: NDArray[np.uint32], length: int | None, vocabulary: Vocabulary
    ) -> NDArray[np.uint32] | None:
        assert length is not None and vocabulary.end_id is not None
        if not len(ids) or ids[-1] != vocabulary.end_id:  # the last document of a raw array may have no end
            ids = np.append(ids, np.uint32(vocabulary.end_id))
        if len(ids) > length:
            return None
        row = np.full(length, vocabulary.pad_id, dtype=np.uint32)
        row[: len(ids)] = ids
        return row

    def rows(
        self, array: TokenArray, made: int | None, wanted: int, vocabulary: Vocabulary, *, whole: bool
    ) -> ArrayRows:
        assert made is not None
        if wanted < made:
            raise SettingsError(
                f"length is {wanted}, but the rows were prepared with {made} tokens; give --length {made}, "
                "or prepare the text anew."
            )
        return DocumentRows(array, made, vocabulary.pad_id, vocabulary.end_id, whole)


KINDS: Registry[Kind] = Registry("kind", {"packed": Packed(), "rows": Rows()})
"""Ways to lay documents down, by name."""
